"""Logs: every node's lines of the newest attempt, and with -f to the end of the run."""

import io
import json
import socket
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from launcher.bar import plain, view
from launcher.cli import main
from launcher.follow import follow
from launcher.progress import Progress
from launcher.runlogs import Logs
from launcher.tail import Tail
from tests.launcher.folders import result, run, started, submitted, trained

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def no_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path)


def test_the_newest_attempt_with_its_nodes(tmp_path: Path, capsys: Capture) -> None:
    folder = started(started(submitted(run(tmp_path / "runs"))), 2)
    (folder.attempts / "slurm-1001.log").write_text("module: not found\nno line end")
    assert main(["logs", "mine"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "slurm | module: not found", "slurm | no line end", "n1 | n1 says 2", "n2 | n2 says 2",
    ]  # fmt: skip


def test_one_attempt_and_one_node(tmp_path: Path, capsys: Capture) -> None:
    started(started(submitted(run(tmp_path / "runs"))), 2)
    assert main(["logs", "mine", "--attempt", "1", "--node", "n2"]) == 0
    assert capsys.readouterr().out == "n2 says 1\n"
    assert main(["logs", "mine", "--attempt", "3"]) == 2
    assert "there is: 1, 2" in capsys.readouterr().err
    assert main(["logs", "mine", "--node", "n3"]) == 2
    assert "n1" in capsys.readouterr().err


def test_for_programs(tmp_path: Path, capsys: Capture) -> None:
    started(submitted(run(tmp_path / "runs")))
    assert main(["logs", "mine", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == {"run_id": "mine", "attempt": 1, "logs": {"n1": ["n1 says 1"], "n2": ["n2 says 1"]}}


def test_no_log_yet(tmp_path: Path, capsys: Capture) -> None:
    submitted(run(tmp_path / "runs"))
    assert main(["logs", "mine"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "no log yet" in captured.err


def test_a_log_cannot_steer_the_terminal(tmp_path: Path, capsys: Capture) -> None:
    folder = started(submitted(run(tmp_path / "runs")), nodes=("n1",))
    (folder.attempt_folder(1) / "n1.log").write_text("\x1b[2Jgone\n")
    main(["logs", "mine"])
    assert "\x1b" not in capsys.readouterr().out


def test_following_ends_with_what_came_of_it(tmp_path: Path, capsys: Capture) -> None:
    folder = trained(started(submitted(run(tmp_path / "runs"))), 1, 50)
    end = {
        "train_loss": 2.5,
        "eval_loss_before": 4.0,
        "eval_loss": 3.0,
        "tokens_per_second": 1234.5,
        "artefact": "adapter",
    }

    def finish() -> None:
        time.sleep(0.5)
        (folder.attempt_folder(1) / "n1.log").open("a").write("the last word")
        result(folder, "completed", **end)

    thread = threading.Thread(target=finish)
    thread.start()
    assert main(["logs", "mine", "-f"]) == 0
    thread.join()
    out = capsys.readouterr().out
    assert "n1 | n1 says 1" in out
    assert "n1 | the last word" in out
    assert "step 50/100, loss 2.5000, 2.00 steps/s, 200 tokens/s, 0:00:25 left" in out
    for row in (
        "steps            100 of 100", "tokens/s         1,234", "training loss    2.5000",
        "evaluation loss  4.0000 before, 3.0000 after (-25.0%)", "adapter          runs/mine/adapter",
        'talk to it       python -m trainer chat runs/mine "..."',
    ):  # fmt: skip
        assert row in out


def test_following_a_failure_gives_4_and_says_why(tmp_path: Path, capsys: Capture) -> None:
    result(started(submitted(run(tmp_path / "runs"))), "failed", cause="out_of_memory", message="rank 1: no memory")
    assert main(["logs", "mine", "-f"]) == 4
    out = capsys.readouterr().out
    assert "mine: failed, out of memory" in out
    assert "rank 1: no memory" in out
    assert "resume mine" in out


def test_a_run_that_is_gone_is_not_waited_for(tmp_path: Path, capsys: Capture) -> None:
    folder = started(run(tmp_path / "runs"))
    folder.append_event("submitted", 1, job_id=None, pid=2**22, host=socket.gethostname())
    assert main(["logs", "mine", "-f"]) == 4
    assert "mine: lost" in capsys.readouterr().out


def test_with_json_stdout_is_one_document(tmp_path: Path, capsys: Capture) -> None:
    folder = result(started(submitted(run(tmp_path / "runs"))), "completed", artefact="adapter", eval_loss=None)
    assert follow(folder, as_json=True) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert (document["run_id"], document["status"], document["step"]) == ("mine", "completed", 100)
    assert document["artefact_folder"] == str(folder.adapter)
    assert document["chat"].startswith("python -m trainer chat")
    assert "n1 says 1" in captured.err


def test_a_line_is_given_once_and_whole(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "x")
    assert tail.lines() == []
    file = (tmp_path / "x").open("wb")
    for written, seen in ((b"a\nb", ["a"]), (b"c\n\xc3", ["bc"]), (b"\xa9\n", ["é"]), (b'{"a": 1}\nnot\n', None)):
        file.write(written)
        file.flush()
        if seen is not None:
            assert tail.lines() == seen
    assert tail.objects() == [{"a": 1}]
    file.write(b"rest")
    file.close()
    assert tail.lines() == []
    assert tail.rest() == ["rest"]
    assert tail.rest() == []


def test_on_a_terminal_a_bar_stands_below_the_log() -> None:
    out = io.StringIO()
    progress = Progress()
    with view(Console(file=out, force_terminal=True, width=100)) as show:
        show(progress, ["[bold]a line[/bold] \x1b[2J"])
        progress.feed([{"event": "data_ready", "steps": 4}], [{"step": 1, "loss": 2.0, "seconds": 2.0, "tokens": 10}])
        show(progress, [])
    assert "[bold]a line[/bold] \\x1b[2J" in out.getvalue()
    assert "step 1/4" in out.getvalue()
    assert "loss 2.0000, 2.0 s a step, 5 tokens/s, 0:00:06 left" in out.getvalue()


def test_elsewhere_progress_comes_now_and_then() -> None:
    out = io.StringIO()
    times = iter([0.0, 0.0, 1.0, 11.0, 11.0, 12.0])
    show = plain(Console(file=out, width=200), now=lambda: next(times))
    progress = Progress()
    for step in (1, 2, 3, 4):
        progress.feed([{"event": "data_ready", "steps": 9}], [{"step": step, "loss": 2.0, "seconds": 1, "tokens": 1}])
        show(progress, [])
    assert [line.split(",")[0] for line in out.getvalue().splitlines()] == ["-- trains", "-- step 1/9", "-- step 3/9"]


def test_progress_that_is_none_is_not_shown() -> None:
    """Not while a run that goes on has yet to start, and not twice where no step was made in between."""
    out = io.StringIO()
    show = plain(Console(file=out, width=200), now=iter(range(0, 1000, 60)).__next__)
    progress = Progress()
    step = {"step": 3, "loss": 2.0, "seconds": 1, "tokens": 1}
    progress.feed([{"event": "data_ready", "steps": 9}, {"event": "submitted"}], [step])
    for event in ("started", "data_ready", "evaluated", "checkpoint_committed"):
        progress.feed([{"event": event, "steps": 9}], [])
        show(progress, [])
    assert [line.split(",")[0] for line in out.getvalue().splitlines()] == [
        "-- starts: nodes meet", "-- trains", "-- step 3/9"
    ]  # fmt: skip


def test_what_the_job_that_prepared_it_said_is_a_log_too(tmp_path: Path) -> None:
    folder = run(tmp_path)
    folder.append_event("submitted", 1, job_id="8", prepare_job_id="7")
    (folder.attempts / "prepare-7.log").write_text("no such file\n")
    assert Logs(folder).texts() == {"prepare": ["no such file"]}
