"""How a run goes on after an attempt: the way that its plan names, a controller that is away, budgets, and attempts
that could not say how they ended."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conf.folder import RunFolder, read_json, write_json
from tests.trainer.agents import PATIENCE, agents, no_slurm, run_folder, up
from tests.trainer.test_notice import TRAINS, calls

pytestmark = pytest.mark.train

DONE = "    finish(folder)\n    return 0\n"
CRASHES = "    return 1\n"
CHAIN = {"SLURMWRIGHT_PYTHON": "/usr/bin/python3", "SLURMWRIGHT_STORE": "/store"}
AWAY = "echo 'Unexpected message received for job 77' >&2; exit 1"
"""What scontrol of Slurm 22.05 says of a requeue where no controller answers."""


def preempted(folder: RunFolder, **variables: str) -> dict[str, Any]:
    """One attempt that is told to leave; its record."""
    with agents(folder, 1, **variables) as (agent,):
        up(folder, 1)
        agent.send_signal(signal.SIGTERM)
        agent.wait(PATIENCE)
    return read_json(folder.attempt_folder(1) / "attempt.json")


def asked(folder: RunFolder) -> list[str]:
    return [call for call in calls(folder) if "requeue" in call or call.startswith("sbatch")]


def test_a_site_that_forbids_requeues_is_not_asked_for_one(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", TRAINS)
    write_json(folder.plan_file, {"site": {"goes_on": "singleton chain"}})
    no_slurm(folder, scontrol="echo JobState=RUNNING", sbatch="echo 78")
    preempted(folder, **CHAIN)
    assert [call.split()[0] for call in asked(folder)] == ["sbatch"]
    assert [line["job_id"] for line in folder.events() if line["event"] == "submitted"] == ["78"]


def test_a_controller_that_is_away_is_asked_again(tmp_path: Path) -> None:
    """Three times away, then there: one requeue that is heard, and no chain beside it."""
    folder = run_folder(tmp_path / "run", TRAINS)
    count = folder.path / "away"
    gone = f"[ $(wc -l 2>/dev/null <{count}) -ge 3 ] || {{ echo x >>{count}; {AWAY}; }}"
    no_slurm(folder, scontrol=f'case "$*" in requeue*) {gone} ;; *) {AWAY} ;; esac', sbatch="echo 78")
    preempted(folder, **CHAIN)
    assert asked(folder) == ["scontrol requeue 77"] * 4
    assert not folder.result()


def test_a_requeue_that_was_heard_without_an_answer_is_not_asked_twice(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", TRAINS)
    heard = folder.path / "heard"
    shown = f"[ -e {heard} ] && echo JobState=RUNNING Restarts=1 || echo JobState=RUNNING Restarts=0"
    lines = f'case "$*" in requeue*) touch {heard}; {AWAY} ;; *) {shown} ;; esac'
    no_slurm(folder, scontrol=lines, sbatch="echo 78")
    preempted(folder, **CHAIN)
    assert asked(folder) == ["scontrol requeue 77"]


@pytest.mark.parametrize(
    ("shown", "said"),
    [("JobState=COMPLETING Restarts=0", "Job is pending execution"), ("JobState=RUNNING Restarts=1", "Invalid job id")],
)
def test_a_job_that_slurm_has_requeued_already_is_not_chained_too(tmp_path: Path, shown: str, said: str) -> None:
    """The grace was over before all had left: Slurm does it between the look at the job and the question."""
    folder = run_folder(tmp_path / "run", TRAINS)
    asks = folder.path / "asks"
    show = f"[ -e {asks} ] && echo {shown} || echo JobState=RUNNING Restarts=0"
    lines = f'case "$*" in requeue*) touch {asks}; echo {said} >&2; exit 1 ;; *) {show} ;; esac'
    no_slurm(folder, scontrol=lines, sbatch="echo 78")
    preempted(folder, **CHAIN)
    assert asked(folder) == ["scontrol requeue 77"]
    assert not folder.result()


def crashed_before(folder: RunFolder, count: int) -> None:
    """Attempts that crashed, each at a step of its own."""
    for number in range(1, count + 1):
        record = {"attempt": number, "ended": "x", "cause": "worker_crash", "step": number * 10}
        write_json(folder.attempt_folder(number) / "attempt.json", record)
        folder.attempt_folder(number + 1).mkdir()


@pytest.mark.parametrize(("by", "again"), [({}, True), ({"why": "the site forbids requeues"}, False)])
def test_budgets_count_from_a_persons_resume(tmp_path: Path, by: dict[str, Any], again: bool) -> None:
    """A job that the run itself has chained is nobody's resume."""
    folder = run_folder(tmp_path / "run", CRASHES, limits={"crashes": 2})
    no_slurm(folder, scontrol="echo JobState=RUNNING")
    folder.append_event("submitted", 1, job_id="70")
    crashed_before(folder, 3)
    folder.append_event("submitted", 4, job_id="77", **by)
    with agents(folder, SLURMWRIGHT_ATTEMPT="4") as (agent,):
        agent.wait(PATIENCE)
    assert ("scontrol requeue 77" in calls(folder)) is again
    assert ("limits.crashes=2 is used up" in str(folder.result().get("message"))) is not again


def lost(folder: RunFolder, *, log: str = "", before: str = "") -> None:
    """Attempt 1 ended without a word of its agents; Slurm's words are in the job's log."""
    record = {"attempt": 1, "job_id": "77", "nodes": ["n3", "n4"], "ended": None, "log_from": len(before)}
    write_json(folder.attempt_folder(1) / "attempt.json", record)
    (folder.attempts / "slurm-77.log").write_text(before + log)
    folder.attempt_folder(2).mkdir()


@pytest.mark.parametrize(
    ("log", "cause", "culprit"),
    [
        ("", "node_failure", "n3"),
        ("slurmstepd-n3: error: *** JOB 77 ON n3 CANCELLED AT 2026 DUE TO PREEMPTION ***\n", "preempted", None),
        ("0: slurmstepd-n3: error: StepId=77.0 exceeded memory limit (9 > 8), being killed\n", "out_of_memory", None),
        ("OSError: [Errno 28] No space left on device: '/runs/x/attempts/0001/.attempt.json'\n", "disk_full", None),
        ("a line of the site's own about the last OUT OF MEMORY\n", "node_failure", "n3"),
    ],
)
def test_an_attempt_without_a_word_is_closed_with_its_cause(
    tmp_path: Path, log: str, cause: str, culprit: str | None
) -> None:
    folder = run_folder(tmp_path / "run", DONE)
    lost(folder, log=log, before="slurmstepd: error: *** JOB 77 ON n1 CANCELLED AT 2025 DUE TO TIME LIMIT ***\n")
    with agents(folder, SLURMWRIGHT_ATTEMPT="2") as (agent,):
        assert agent.wait(PATIENCE) == 0
    record = read_json(folder.attempt_folder(1) / "attempt.json")
    assert (record["cause"], record["culprit"]) == (cause, culprit)
    told = [(line["attempt"], line["node"]) for line in folder.events() if line["event"] == "node_lost"]
    assert told == ([(1, "n3")] if culprit else [])


def test_a_head_node_that_is_lost_over_and_over_uses_up_the_budget(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", DONE, limits={"node_failures": 0})
    lost(folder)
    with agents(folder, SLURMWRIGHT_ATTEMPT="2") as (agent,):
        assert agent.wait(PATIENCE) == 4
    assert "limits.node_failures=0 is used up" in folder.result()["message"]


def test_the_aftermath_of_a_step_that_was_killed_for_memory(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", TRAINS)
    no_slurm(folder, scontrol="echo JobState=RUNNING")
    with agents(folder) as (agent,):
        up(folder, 1)
        agent.kill()
        agent.wait(PATIENCE)
    words = "slurmstepd-n1: error: Detected 1 oom-kill event(s) in StepId=77.0. Some of your processes may have been"
    (folder.attempts / "slurm-77.log").write_text(f"{words} killed by the cgroup out-of-memory handler.\n")
    environ = os.environ | {
        "PATH": f"{folder.path / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(folder.code),
        "SLURMWRIGHT_ATTEMPT": "1", "SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "127.0.0.1", "SLURM_NODEID": "0",
    }  # fmt: skip
    command = [sys.executable, "-m", "trainer", "aftermath", str(folder.path), "137"]
    subprocess.run(command, env=environ, cwd=folder.code, check=True, timeout=PATIENCE)
    record = read_json(folder.attempt_folder(1) / "attempt.json")
    assert record["cause"] == "out_of_memory" and "oom-kill" in record["message"]
    assert "scontrol requeue 77" in calls(folder)


def test_a_worker_that_has_saved_leaves_at_once(tmp_path: Path) -> None:
    """Taking the interpreter apart takes seconds of a short grace."""
    late = TRAINS.replace("    return 0\n", "    atexit.register(lambda: out(folder, 'late'))\n    return 0\n")
    folder = run_folder(tmp_path / "run", f"    import atexit\n{late}")
    no_slurm(folder, scontrol="echo JobState=RUNNING")
    assert preempted(folder)["step"] == 7
    assert not (folder.path / "late").exists()
