"""The verbs `stop` and `checkpoint`: asked of a running run alone, whole, and waited for until it is done."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conf.folder import RunFolder, read_json, write_json
from launcher import asking
from launcher.cli import main
from tests.launcher.fakes import FakeSlurm
from tests.launcher.folders import ended, result, run, squeue_line, started, submitted
from trainer.boundary import Boundary
from trainer.signals import NoticeFlag

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(asking, "LOOK", 0.02)
    fake = FakeSlurm(tmp_path / "bin")
    fake.install(monkeypatch)
    return fake


@pytest.fixture
def folder(slurm: FakeSlurm, tmp_path: Path) -> RunFolder:
    """A run whose job runs."""
    made = started(submitted(run(tmp_path / "runs")))
    slurm.answer("squeue", 0, squeue_line(made, "1001", "RUNNING"))
    return made


@pytest.fixture
def later(folder: RunFolder) -> Iterator[Callable[[Callable[[], Any]], None]]:
    """Have something happen once the run has been asked, while the verb waits."""
    threads: list[threading.Thread] = []

    def begin(act: Callable[[], Any]) -> None:
        def when_asked() -> None:
            deadline = time.monotonic() + 120
            while not (folder.stop_file.exists() or folder.save_file.exists()) and time.monotonic() < deadline:
                time.sleep(0.02)
            act()

        threads.append(threading.Thread(target=when_asked))
        threads[-1].start()

    yield begin
    for thread in threads:
        thread.join()


def document(capsys: Capture, *words: str, expect: int = 0) -> dict[str, Any]:
    assert main([*words, "--json"]) == expect
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def saves(folder: RunFolder, step: int) -> None:
    folder.append_event("checkpoint_started", 1, step)
    folder.append_event("checkpoint_committed", 1, step, path=f"checkpoints/step-{step:08d}")


def test_stop_is_what_the_trainer_reads(folder: RunFolder, capsys: Capture) -> None:
    boundary = Boundary(folder, 0, 1, NoticeFlag())
    assert boundary.agree(5).stop is False
    assert main(["stop", "mine"]) == 0
    assert "is asked to stop: it saves and ends after its present step" in capsys.readouterr().err
    assert (boundary.agree(5).stop, boundary.agree(5).save, boundary.reason()) == (True, False, "stopped")
    assert read_json(folder.stop_file) == {"reason": "stopped"}
    assert folder.stop_file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.path.iterdir() if path.name.startswith(".")] == []


def test_checkpoint_is_what_the_trainer_reads(folder: RunFolder, capsys: Capture) -> None:
    assert document(capsys, "checkpoint", "mine") == {
        "run_id": "mine", "asked": "checkpoint", "status": "running", "checkpoint": None,
        "message": "mine is asked to save: it saves and goes on after its present step",
    }  # fmt: skip
    agreed = Boundary(folder, 0, 1, NoticeFlag()).agree(5)
    assert (agreed.stop, agreed.save) == (False, True)


def test_asked_twice_is_asked_once(folder: RunFolder, capsys: Capture) -> None:
    write_json(folder.stop_file, {"reason": "pruned"})
    assert main(["stop", "mine"]) == 0
    assert "was asked before" in capsys.readouterr().err
    assert read_json(folder.stop_file) == {"reason": "pruned"}
    assert main(["checkpoint", "mine"]) == main(["checkpoint", "mine"]) == 0
    assert "was asked before" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["stop", "checkpoint"])
@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "stopped", "pruned"])
def test_a_run_that_is_over(folder: RunFolder, slurm: FakeSlurm, capsys: Capture, verb: str, status: str) -> None:
    result(folder, status)
    slurm.answer("squeue", 0, "")
    assert main([verb, "mine"]) == 2
    said = capsys.readouterr().err
    assert f"mine is {'over (' * (status not in ('completed', 'pruned'))}{status}" in said
    next_word = "status" if status in ("completed", "pruned") else "resume"
    assert f"`python -m launcher {next_word} mine`" in said
    assert not folder.stop_file.exists() and not folder.save_file.exists()


@pytest.mark.parametrize("verb", ["stop", "checkpoint"])
def test_a_run_that_is_queued(slurm: FakeSlurm, tmp_path: Path, capsys: Capture, verb: str) -> None:
    folder = submitted(run(tmp_path / "runs"))
    slurm.answer("squeue", 0, squeue_line(folder, "1001", "PENDING", "Priority"))
    assert main([verb, "mine"]) == 2
    assert f"cannot {verb} before it begins: to take it out of the queue type `python -m launcher cancel mine`" in (
        capsys.readouterr().err
    )
    assert not folder.stop_file.exists() and not folder.save_file.exists()


def test_a_run_that_was_interrupted_or_never_started(slurm: FakeSlurm, tmp_path: Path, capsys: Capture) -> None:
    ended(started(submitted(run(tmp_path / "runs"))), 1, "worker_crash", "rank 1 died")
    run(tmp_path / "runs", "fresh")
    for name, words in (("mine", "rank 1 died"), ("fresh", "never started")):
        assert main(["checkpoint", name]) == 2
        said = capsys.readouterr().err
        assert words in said
        assert said.count(f"`python -m launcher resume {name}`") == 1


def test_an_unknown_run_and_a_wrong_flag(folder: RunFolder, capsys: Capture) -> None:
    assert main(["stop", "mime"]) == 2
    assert "did you mean mine?" in capsys.readouterr().err
    assert main(["stop", "mine", "--now"]) == 2
    assert "--now" in capsys.readouterr().err


def test_slurm_that_is_silent_is_said_and_the_folder_believed(
    folder: RunFolder, slurm: FakeSlurm, capsys: Capture
) -> None:
    slurm.answer("squeue", 1, "Unable to contact slurm controller")
    assert main(["checkpoint", "mine"]) == 0
    assert "Slurm cannot be asked" in capsys.readouterr().err
    assert folder.save_file.exists()


def test_waiting_for_a_checkpoint(
    folder: RunFolder, capsys: Capture, later: Callable[[Callable[[], Any]], None]
) -> None:
    saves(folder, 3)  # one from before is none that was asked for
    later(lambda: saves(folder, 7))
    found = document(capsys, "checkpoint", "mine", "--wait", "--timeout=20")
    assert found["checkpoint"] == {"step": 7, "path": "checkpoints/step-00000007"}
    assert (found["status"], found["message"].partition(":")[0]) == ("running", "mine has saved step 7, and goes on")


def test_one_begun_before_the_request_does_not_hold_what_was_asked_for(
    folder: RunFolder, capsys: Capture, later: Callable[[Callable[[], Any]], None]
) -> None:
    folder.append_event("checkpoint_started", 1, 3)

    def both() -> None:
        folder.append_event("checkpoint_committed", 1, 3, path="old")
        time.sleep(0.2)
        saves(folder, 4)

    later(both)
    assert document(capsys, "checkpoint", "mine", "--wait", "--timeout=20")["checkpoint"]["step"] == 4


def test_waiting_for_a_stop(folder: RunFolder, capsys: Capture, later: Callable[[Callable[[], Any]], None]) -> None:
    def stops() -> None:
        saves(folder, 9)
        time.sleep(0.1)  # saved is not yet ended
        result(folder, "stopped")

    later(stops)
    found = document(capsys, "stop", "mine", "--wait", "--timeout=20")
    assert (found["status"], found["checkpoint"]["step"]) == ("stopped", 9)
    assert "has stopped. Its last checkpoint is of step 9; to go on type" in found["message"]


@pytest.mark.parametrize(("status", "code"), [("completed", 0), ("failed", 4), ("cancelled", 4)])
def test_a_run_that_ends_otherwise_while_waited_for(
    folder: RunFolder, capsys: Capture, later: Callable[[Callable[[], Any]], None], status: str, code: int
) -> None:
    later(lambda: result(folder, status))
    found = document(capsys, "checkpoint", "mine", "--wait", "--timeout=20", expect=code)
    assert (found["status"], found["checkpoint"]) == (status, None)
    assert f"does not run any more: {status}." in found["message"]


def test_a_run_that_is_gone_without_a_result_is_seen(
    folder: RunFolder, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch, capsys: Capture,
    later: Callable[[Callable[[], Any]], None],
) -> None:  # fmt: skip
    monkeypatch.setattr(asking, "ASK_SLURM", 0.1)
    later(lambda: slurm.answer("squeue", 0, squeue_line(folder, "1001", "NODE_FAIL")))
    assert document(capsys, "stop", "mine", "--wait", "--timeout=20", expect=4)["status"] not in ("running", "queued")


def test_a_requeue_is_no_end(
    folder: RunFolder, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch, capsys: Capture,
    later: Callable[[Callable[[], Any]], None],
) -> None:  # fmt: skip
    monkeypatch.setattr(asking, "ASK_SLURM", 0.05)

    def requeued() -> None:
        slurm.answer("squeue", 0, squeue_line(folder, "1001", "PENDING", "BeginTime"))
        time.sleep(0.5)
        saves(folder, 5)

    later(requeued)
    assert document(capsys, "checkpoint", "mine", "--wait", "--timeout=20")["checkpoint"]["step"] == 5


def test_a_wait_is_bounded_and_the_request_stands(folder: RunFolder, capsys: Capture) -> None:
    assert main(["checkpoint", "mine", "--wait", "--timeout=0.1"]) == 4
    assert "has not done so after 0.1 s" in capsys.readouterr().err
    assert folder.save_file.exists()


def test_a_checkpoint_that_fails(
    folder: RunFolder, capsys: Capture, later: Callable[[Callable[[], Any]], None]
) -> None:
    later(lambda: folder.append_event("checkpoint_failed", 1, 6, why="no space left on device"))
    assert main(["checkpoint", "mine", "--wait", "--timeout=20"]) == 4
    assert "could not save at step 6: no space left on device" in capsys.readouterr().err


def test_a_run_of_this_machine_and_of_another(tmp_path: Path, capsys: Capture) -> None:
    here, there = run(tmp_path, "here"), run(tmp_path, "there")
    code = "import time; time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code, str(here.path)])
    try:
        here.append_event("submitted", 1, job_id=None, pid=child.pid, host=socket.gethostname())
        there.append_event("submitted", 1, job_id=None, pid=os.getpid(), host="elsewhere")
        assert main(["stop", "here", f"run.root={tmp_path}"]) == 0
        assert main(["stop", "there", "--root", str(tmp_path)]) == 0
        assert "started on elsewhere" in capsys.readouterr().err
    finally:
        child.kill()
        child.wait()
    assert here.stop_file.exists() and there.stop_file.exists()
    here.stop_file.unlink()
    assert main(["stop", "here", f"run.root={tmp_path}"]) == 2
    assert not here.stop_file.exists()
