"""Cancel: the run's record first, then the signal, then the proof that it is gone; and never twice."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from conf.folder import RunFolder
from launcher import cancel as verb
from launcher.cli import main
from launcher.slurm import queue
from tests.launcher.fakes import FakeSlurm
from tests.launcher.folders import result, run, squeue_line, started, submitted, trained

Capture = pytest.CaptureFixture[str]
AGENT = """
import json, pathlib, signal, sys, time
def leave(*_):
    events = pathlib.Path(sys.argv[1], "events.jsonl").read_text().splitlines()
    pathlib.Path(sys.argv[1], "seen").write_text(json.loads(events[-1])["event"])
    sys.exit(143)
signal.signal(signal.SIGTERM, leave)
print("ready", flush=True)
time.sleep(60)
"""
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    monkeypatch.chdir(tmp_path)
    fake = FakeSlurm(tmp_path / "bin")
    fake.install(monkeypatch)
    return fake


def names(folder: RunFolder) -> list[str]:
    return [event["event"] for event in folder.events()]


def test_a_job_that_slurm_has_ended_already_needs_no_signal(slurm: FakeSlurm, tmp_path: Path, capsys: Capture) -> None:
    folder = trained(started(submitted(run(tmp_path / "runs"))), 1, 7)
    slurm.answer("squeue", 0, squeue_line(folder, "1001", "NODE_FAIL"))
    assert main(["cancel", "mine"]) == 0
    assert "is cancelled" in capsys.readouterr().err
    assert slurm.calls("scancel") == []
    assert (folder.result()["status"], folder.result()["step"]) == ("cancelled", 7)


def test_a_running_job_gets_scancel_after_the_event(
    slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = started(submitted(run(tmp_path / "runs")))
    slurm.answer("squeue", 0, squeue_line(folder, "1001", "RUNNING"))
    seen: list[list[str]] = []

    def gone(job_id: str, seconds: float) -> bool:
        seen.append(names(folder))
        assert slurm.calls("scancel") == [["1001"]]
        assert not folder.result()
        return True

    monkeypatch.setattr(queue, "wait_until_gone", gone)
    assert main(["cancel", "mine"]) == 0
    assert seen[0][-1] == "cancelled"
    assert folder.result()["status"] == "cancelled"


def test_a_job_that_does_not_go_is_said(
    slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    folder = started(submitted(run(tmp_path / "runs")))
    slurm.answer("squeue", 0, squeue_line(folder, "1001", "COMPLETING"))
    monkeypatch.setattr(verb, "GONE", 0.0)
    assert main(["cancel", "mine"]) == 3
    assert "still there" in capsys.readouterr().err
    assert not folder.result()


def test_what_is_over_stays_as_it_is(slurm: FakeSlurm, tmp_path: Path, capsys: Capture) -> None:
    folder = result(submitted(run(tmp_path / "runs")), "completed")
    assert main(["cancel", "mine"]) == 0
    assert "is over already: completed" in capsys.readouterr().err
    assert names(folder) == ["submitted"]
    assert slurm.calls("scancel") == []


def test_twice_is_once(slurm: FakeSlurm, tmp_path: Path) -> None:
    folder = submitted(run(tmp_path / "runs"))
    assert main(["cancel", "mine"]) == 0
    assert main(["cancel", "mine"]) == 0
    assert names(folder) == ["submitted", "cancelled"]


def test_a_run_that_completes_meanwhile_has_completed(
    slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = started(submitted(run(tmp_path / "runs")))
    slurm.answer("squeue", 0, squeue_line(folder, "1001", "RUNNING"))
    monkeypatch.setattr(queue, "wait_until_gone", lambda *_: bool(result(folder, "completed")))
    assert main(["cancel", "mine"]) == 0
    assert folder.result()["status"] == "completed"


def test_without_slurm_nothing_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    folder = submitted(run(tmp_path))
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["cancel", "mine", "--root", str(tmp_path)]) == 3
    assert "scancel" in capsys.readouterr().err
    assert names(folder) == ["submitted"]


def local(folder: RunFolder, code: str) -> "subprocess.Popen[bytes]":
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(folder.path)], stdout=subprocess.PIPE, start_new_session=True
    )
    assert child.stdout is not None
    child.stdout.readline()
    folder.append_event("submitted", 1, job_id=None, pid=child.pid, host=socket.gethostname())
    return child


def test_a_local_run_learns_first_why(tmp_path: Path) -> None:
    folder = run(tmp_path)
    child = local(folder, AGENT)
    try:
        assert main(["cancel", "mine", "--root", str(tmp_path)]) == 0
        assert child.wait(10) == 143
    finally:
        child.kill()
        child.communicate()
    assert (folder.path / "seen").read_text() == "cancelled"
    assert folder.result()["status"] == "cancelled"


def test_a_local_run_that_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run(tmp_path)
    monkeypatch.setattr(verb, "LOCAL_GRACE", 0.2)
    child = local(folder, DEAF)
    try:
        assert main(["cancel", "mine", "--root", str(tmp_path)]) == 0
        assert child.wait(10) == -9
    finally:
        child.kill()
        child.communicate()
    assert folder.result()["status"] == "cancelled"


def test_a_run_of_another_machine_is_ended_there(tmp_path: Path, capsys: Capture) -> None:
    folder = run(tmp_path)
    folder.append_event("submitted", 1, job_id=None, pid=1, host="elsewhere")
    assert main(["cancel", "mine", "--root", str(tmp_path)]) == 2
    assert "elsewhere" in capsys.readouterr().err
    assert not folder.result()


def test_the_job_that_prepares_a_run_is_ended_with_it(slurm: FakeSlurm, tmp_path: Path) -> None:
    folder = run(tmp_path / "runs")
    folder.append_event("submitted", 1, job_id="1002", prepare_job_id="1001")
    slurm.answer("squeue", 0, squeue_line(folder, "1002", "PENDING"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue, "wait_until_gone", lambda *_: True)
        assert main(["cancel", "mine"]) == 0
    assert slurm.calls("scancel") == [["1002"], ["1001"]]
