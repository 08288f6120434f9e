"""Runs that the command itself carries out: by an agent that stands in for the trainer's, with no training."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from conf.folder import RunFolder
from launcher import here, local
from launcher.errors import InputError, SiteError
from tests.launcher.fakes import FakeSlurm
from tests.launcher.folders import config, run

ROOT = Path(__file__).parents[2]
AGENT = """
import json, os, pathlib, signal, sys, time
run = pathlib.Path(sys.argv[2])
facts = {"argv": sys.argv[1:], "cwd": os.getcwd(), "path": os.environ["PYTHONPATH"], "pid": os.getpid(),
         "attempt": os.environ["SLURMWRIGHT_ATTEMPT"], "session": os.getsid(0), "umask": os.umask(0)}
(run / "facts.json").write_text(json.dumps(facts))
def leave(*_):
    (run / "told").write_text("SIGTERM")
    sys.exit(143)
signal.signal(signal.SIGTERM, leave)
signal.signal(signal.SIGINT, signal.SIG_IGN)
how = (run / "how").read_text()
print("agent says", how, flush=True)
if how == "wait":
    (run / "waiting").touch()
    time.sleep(60)
if how == "complete":
    (run / "result.json").write_text(json.dumps({"status": "completed", "step": 3}))
sys.exit(0 if how == "complete" else 4)
"""
DRIVER = """
import signal, sys
# Tests may run under nohup or in the background, where these are ignored from birth.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
from launcher import local
from tests.launcher.folders import config
from conf.folder import RunFolder
sys.exit(local.start(config(cluster={"kind": "local"}), RunFolder(sys.argv[1])))
"""
LOCAL: dict[str, Any] = {"cluster": {"kind": "local"}}


def agent(folder: RunFolder, how: str) -> RunFolder:
    """Give a run an agent that does as it is told."""
    package = folder.code / "trainer"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(AGENT)
    (folder.path / "how").write_text(how)
    return folder


def facts(folder: RunFolder) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder.path / "facts.json").read_text())
    return told


def test_the_runs_own_code_runs_in_its_own_place(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = agent(run(tmp_path, **LOCAL), "complete")
    assert local.start(config(**LOCAL), folder) == 0
    told = facts(folder)
    assert told["argv"] == ["agent", str(folder.path)]
    assert (told["cwd"], told["path"], told["attempt"]) == (str(folder.code), str(folder.code), "1")
    assert told["session"] == told["pid"]
    assert told["umask"] == 0o077
    (event,) = folder.events()
    assert (event["event"], event["job_id"], event["pid"], event["attempt"]) == ("submitted", None, told["pid"], 1)
    out = capfd.readouterr().out
    assert "agent says complete" in out
    assert "mine has completed" in out


def test_an_agent_that_fails_gives_4_and_its_words_are_kept(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = agent(run(tmp_path, **LOCAL), "fail")
    assert local.start(config(**LOCAL), folder, as_json=True) == 4
    document = json.loads(capfd.readouterr().out)
    assert document["status"] == "lost"
    assert (folder.attempt_folder(1) / "launch.log").read_text() == "agent says fail\n"
    assert local.start(config(**LOCAL), folder) == 4
    assert folder.attempt_numbers() == [1, 2]


def test_a_finished_run_is_not_started(tmp_path: Path) -> None:
    folder = agent(run(tmp_path, **LOCAL), "complete")
    folder.result_file.write_text('{"status": "completed"}')
    with pytest.raises(InputError, match="finished"):
        local.start(config(**LOCAL), folder)
    assert not (folder.path / "facts.json").exists()


def driver(folder: RunFolder) -> "subprocess.Popen[str]":
    """A launcher of its own, with its agent at work."""
    child = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(folder.path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_for(lambda: (folder.path / "waiting").exists())
    return child


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupting_the_launcher_asks_the_agent_to_leave(number: signal.Signals, tmp_path: Path) -> None:
    folder = agent(run(tmp_path, **LOCAL), "wait")
    child = driver(folder)
    child.send_signal(number)
    out, _ = child.communicate(timeout=180)
    assert child.returncode == 130
    assert "launcher resume mine" in out
    assert (folder.path / "told").read_text() == "SIGTERM"
    assert gone(facts(folder)["pid"])


def test_the_agent_does_not_outlive_a_launcher_that_was_killed(tmp_path: Path) -> None:
    folder = agent(run(tmp_path, **LOCAL), "wait")
    child = driver(folder)
    child.kill()
    child.communicate(timeout=180)
    wait_for(lambda: gone(facts(folder)["pid"]))
    assert (folder.path / "told").read_text() == "SIGTERM"


HERE: dict[str, Any] = {"cluster": {"kind": "here", "nodes": 2}}


@pytest.mark.parametrize(
    ("variables", "kind", "words"),
    [
        ({}, InputError, "salloc --nodes=N"),
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "4"}, InputError, "add cluster.nodes=4"),
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2", "PATH": "/nowhere"}, SiteError, "no srun"),
    ],
)
def test_here_needs_an_allocation_of_the_runs_size(
    variables: dict[str, str], kind: type[Exception], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_JOB_NUM_NODES", "SLURM_NNODES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(kind, match=words):
        here.start(config(**HERE), run(tmp_path))


def test_here_runs_the_script_of_a_job_on_the_nodes_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = FakeSlurm(tmp_path / "bin")
    slurm.install(monkeypatch)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    folder = run(tmp_path / "runs", **HERE)
    assert here.start(config(**HERE), folder) == 4  # the srun that stands in starts no agent
    (call,) = slurm.calls("srun")
    assert {"--nodes=2", "--ntasks-per-node=1", "--overlap", "--job-name=mine", f"--chdir={folder.code}"} <= set(call)
    assert call[-5:] == [sys.executable, "-m", "trainer", "agent", str(folder.path)]
    (event,) = folder.events()
    assert (event["job_id"], event["attempt"]) == ("7", 1)
    assert folder.attempt_numbers() == [1]
