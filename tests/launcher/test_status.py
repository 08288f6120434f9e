"""Status: where runs stand, from folders and Slurm, with and without either one's word."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conf.folder import RunFolder
from launcher.cli import main
from launcher.progress import Progress, clock
from launcher.slurm.queue import Job, Queue
from launcher.state import state_of
from tests.launcher.fakes import FakeSlurm
from tests.launcher.folders import ended, result, run, squeue_line, started, submitted, trained

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    monkeypatch.chdir(tmp_path)
    fake = FakeSlurm(tmp_path / "bin")
    fake.install(monkeypatch)
    return fake


def job(state: str, **more: Any) -> Queue:
    return Queue(True, {"1001": Job("1001", state, **more)})


SILENT = Queue(False, complaint="no answer")
FORGOTTEN = Queue(True)


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (job("PENDING"), "queued", ""),
        (job("REQUEUED"), "queued", ""),
        (job("RUNNING"), "running", ""),
        (job("COMPLETING"), "running", ""),
        (
            job("FAILED", reason="NonZeroExitCode"),
            "failed",
            "state FAILED (NonZeroExitCode); see `python -m launcher logs",
        ),
        (job("TIMEOUT"), "failed", "resume mine"),
        (job("CANCELLED"), "cancelled", "outside of the launcher"),
        (job("COMPLETED"), "lost", "without a word; to go on type `python -m launcher resume mine`"),
        (FORGOTTEN, "lost", "job 1001 is gone without a word"),
        (SILENT, "queued", "as the run folder says"),
    ],
)
def test_a_job_that_never_began(answer: Queue, status: str, words: str, tmp_path: Path) -> None:
    state = state_of(submitted(run(tmp_path)), answer)
    assert state.status == status
    assert words in state.message


@pytest.mark.parametrize(
    ("answer", "status", "cause"),
    [
        (job("RUNNING"), "running", None),
        (job("PENDING"), "queued", None),
        (job("TIMEOUT"), "failed", "time_limit"),
        (job("NODE_FAIL"), "failed", "node_failure"),
        (job("OUT_OF_MEMORY"), "failed", "out_of_memory"),
        (job("FAILED"), "failed", "unknown"),
        (FORGOTTEN, "lost", "unknown"),
        (SILENT, "running", None),
    ],
)
def test_a_job_that_began(answer: Queue, status: str, cause: str | None, tmp_path: Path) -> None:
    state = state_of(started(submitted(run(tmp_path))), answer)
    assert (state.status, state.cause, state.nodes) == (status, cause, ("n1", "n2"))


def test_an_attempt_that_ended_can_go_on(tmp_path: Path) -> None:
    folder = ended(started(submitted(run(tmp_path))), 1, "preempted", "SIGTERM")
    for answer, status in ((job("PENDING"), "queued"), (FORGOTTEN, "interrupted"), (SILENT, "interrupted")):
        state = state_of(folder, answer)
        assert (state.status, state.cause) == (status, "preempted")
    assert "SIGTERM; to go on type" in state_of(folder, job("COMPLETED")).message


def test_an_older_attempts_end_does_not_count_for_a_new_job(tmp_path: Path) -> None:
    folder = ended(started(submitted(run(tmp_path), "1000")), 1, "worker_crash", "boom")
    submitted(folder, "1001")
    assert state_of(folder, FORGOTTEN).status == "lost"
    assert state_of(folder, SILENT).status == "queued"


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "stopped", "pruned"])
def test_a_result_is_the_last_word(status: str, tmp_path: Path) -> None:
    folder = result(started(submitted(run(tmp_path))), status)
    for answer in (FORGOTTEN, SILENT, job("RUNNING"), job("FAILED")):
        assert state_of(folder, answer).status == status
    assert state_of(folder, job("PENDING")).status == "queued"


def local(folder: RunFolder, pid: int, host: str | None = None) -> RunFolder:
    folder.append_event("submitted", 1, job_id=None, pid=pid, host=host or socket.gethostname())
    return folder


def test_a_local_run_lives_as_long_as_its_process(tmp_path: Path) -> None:
    folder = run(tmp_path)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", str(folder.path)])
    try:
        assert state_of(local(folder, child.pid), FORGOTTEN).status == "running"
    finally:
        child.kill()
        child.wait()
    assert state_of(folder, FORGOTTEN).status == "lost"


def test_somebody_elses_process_of_that_number_is_no_life(tmp_path: Path) -> None:
    assert state_of(local(run(tmp_path), os.getpid()), FORGOTTEN).status == "lost"


def test_a_local_run_of_another_machine_cannot_be_judged(tmp_path: Path) -> None:
    state = state_of(local(run(tmp_path), 1, "elsewhere"), FORGOTTEN)
    assert state.status == "running"
    assert "elsewhere" in state.message


def test_progress_counts_the_present_attempt_alone(tmp_path: Path) -> None:
    folder = trained(started(submitted(run(tmp_path)), steps=200), 1, 50)
    progress = Progress.of(folder)
    assert (progress.step, progress.steps, progress.eval_before) == (50, 200, 4.0)
    assert progress.seconds_per_step == pytest.approx(0.5)
    assert progress.tokens_per_second == pytest.approx(200)
    assert clock(progress.seconds_left) == "0:01:15"
    progress.feed([{"event": "started", "attempt": 2, "t": "9999-01-02"}], [])
    assert progress.seconds_per_step is None
    assert progress.step == 50


@pytest.mark.parametrize(("seconds", "text"), [(None, ""), (0, "0:00:00"), (3661, "1:01:01"), (90061, "1-01:01:01")])
def test_times(seconds: float | None, text: str) -> None:
    assert clock(seconds) == text


def test_what_an_attempt_changed_is_said_while_it_runs(slurm: FakeSlurm, tmp_path: Path, capsys: Capture) -> None:
    folder = started(submitted(run(tmp_path / "runs", "elastic"), "2"))
    folder.append_event("resumed", 1, 30, path="x", changed={"workers": [4, 2]}, message="workers 4 -> 2; rest stays")
    slurm.answer("squeue", 0, squeue_line(folder, "2", "RUNNING"))
    assert main(["status"]) == 0
    assert "; resumed with workers 4 -> 2; rest stays" in capsys.readouterr().out
    folder.append_event("started", 2)
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"][0]["changed"] is None


def test_the_table_and_the_words_below_it(slurm: FakeSlurm, tmp_path: Path, capsys: Capture) -> None:
    root = tmp_path / "runs"
    waiting = submitted(run(root, "waiting"), "1")
    training = trained(started(submitted(run(root, "training"), "2")), 1, 40)
    result(submitted(run(root, "broken"), "3"), "failed", cause="out_of_memory", message="rank 3: CUDA\nmore")
    slurm.answer(
        "squeue",
        0,
        squeue_line(waiting, "1", "PENDING", "Priority", "2030-01-01T10:00:00") + squeue_line(training, "2", "RUNNING"),
    )
    assert main(["status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line for line in lines[:4]}
    assert rows["waiting"].split()[1:] == ["queued", "1"]
    assert "40/100" in rows["training"]
    assert "0:00:30" in rows["training"]
    assert "n1,n2" in rows["training"]
    assert "waiting: Priority: others come first; expected start 2030-01-01T10:00:00" in lines
    assert "broken: out of memory: rank 3: CUDA" in lines
    assert len(slurm.calls("squeue")) == 1


def test_the_document_for_programs(slurm: FakeSlurm, tmp_path: Path, capsys: Capture) -> None:
    folder = submitted(run(tmp_path / "runs"), "1")
    slurm.answer("squeue", 0, squeue_line(folder, "1", "PENDING", "Resources"))
    assert main(["status", "mine", "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)["runs"]
    assert record["run_id"] == "mine"
    assert (record["status"], record["job_id"], record["slurm_state"]) == ("queued", "1", "PENDING")
    assert (record["reason"], record["expected_start"]) == ("Resources", None)
    assert record["folder"] == str(folder.path)
    assert {"step", "steps", "train_loss", "eval_loss", "cause", "attempts"} <= record.keys()


def test_without_slurm_folders_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    started(submitted(run(tmp_path / "elsewhere")))
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["status", f"run.root={tmp_path / 'elsewhere'}"]) == 0
    captured = capsys.readouterr()
    assert "running" in captured.out
    assert "no squeue on the PATH" in captured.err


def test_finished_runs_need_no_question(slurm: FakeSlurm, tmp_path: Path, capsys: Capture) -> None:
    result(submitted(run(tmp_path / "runs")), "completed")
    assert main(["status"]) == 0
    assert slurm.calls("squeue") == []


def test_mistakes_are_said(tmp_path: Path, capsys: Capture) -> None:
    run(tmp_path, "mine")
    assert main(["status", "mime", "--root", str(tmp_path)]) == 2
    assert "did you mean mine" in capsys.readouterr().err
    assert main(["status", "--rot", "x"]) == 2
    assert main(["status", "--root", str(tmp_path / "none")]) == 0
    assert "no runs in" in capsys.readouterr().out
