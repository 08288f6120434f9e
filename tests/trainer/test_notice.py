"""Notices: agents tell their workers, workers leave together, and Slurm is asked for the next attempt, once."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from conf.folder import RunFolder, read_json, write_json
from tests.trainer.agents import PATIENCE, agents, alive, no_slurm, run_folder, up

pytestmark = pytest.mark.train

TRAINS = """
    from trainer.signals import NoticeFlag
    notice = NoticeFlag()
    notice.install()
    if rank == 0:
        line = json.dumps({"t": "", "event": "data_ready", "attempt": 1}) + "\\n"
        with open(Path(folder) / "events.jsonl", "a") as file:
            file.write(line)
    out(folder, f"up-{rank}", str(os.getpid()))
    while not notice.given and not (Path(folder) / "told").exists():
        time.sleep(0.02)
    out(folder, "told")
    if rank == 0:
        out(folder, "attempts/0001/left.json", json.dumps({"step": 7}))
    return 0
"""
"""A worker that trains until it or another one is told to leave, as the real one does by its collective."""


def calls(folder: RunFolder) -> list[str]:
    file = folder.path / "calls"
    return file.read_text().splitlines() if file.exists() else []


def told(folder: RunFolder) -> Iterator[tuple[str, str | None]]:
    for event in folder.events():
        yield event["event"], event.get("cause") or event.get("signal")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2, signal.SIGUSR1])
@pytest.mark.parametrize("node", [0, 1])
def test_all_leave_and_the_job_is_requeued_once(tmp_path: Path, number: signal.Signals, node: int) -> None:
    """Whichever node hears of it, and when it hears of it twice."""
    folder = run_folder(tmp_path / "run", TRAINS, nodes=2)
    no_slurm(folder, scontrol="echo JobState=RUNNING")
    with agents(folder, 2) as both:
        up(folder, 2)
        both[node].send_signal(number)
        both[node].send_signal(number)
        codes = [agent.wait(PATIENCE) for agent in both]
        assert set(codes) <= {143, 138, 140}
    record = read_json(folder.attempt_folder(1) / "attempt.json")
    assert (record["cause"], record["step"]) == ("preempted", 7)
    assert "saved" in record["message"]
    assert [call for call in calls(folder) if "requeue" in call] == ["scontrol requeue 77"]
    assert list(told(folder))[-2:] == [("preempted", None), ("requeued", "preempted")]
    assert not folder.result()


def test_the_end_of_the_time_limit_is_told_from_a_preemption(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", TRAINS)
    no_slurm(folder, scontrol="echo JobState=RUNNING")
    with agents(folder, SLURM_JOB_END_TIME="1000") as (agent,):
        up(folder, 1)
        agent.send_signal(signal.SIGUSR2)
        agent.wait(PATIENCE)
    assert read_json(folder.attempt_folder(1) / "attempt.json")["cause"] == "time_limit"
    assert ("timed_out", None) in told(folder)


def test_a_limit_that_was_changed_since_the_start_counts(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", TRAINS)
    no_slurm(folder, scontrol="echo JobId=77 JobState=RUNNING EndTime=2026-01-01T00:00:00 X=1")
    with agents(folder, SLURM_JOB_END_TIME="9999999999") as (agent,):
        up(folder, 1)
        agent.send_signal(signal.SIGUSR2)
        agent.wait(PATIENCE)
    assert read_json(folder.attempt_folder(1) / "attempt.json")["cause"] == "time_limit"


def test_the_end_of_the_grace_is_no_time_limit(tmp_path: Path) -> None:
    """Slurm moves EndTime there when it preempts a job."""
    times = "StartTime=2026-01-01T00:00:00 PreemptTime=2026-01-01T00:01:00 EndTime=2026-01-01T00:01:20"
    folder = run_folder(tmp_path / "run", TRAINS)
    no_slurm(folder, scontrol=f"echo JobId=77 JobState=RUNNING {times}")
    with agents(folder) as (agent,):
        up(folder, 1)
        agent.send_signal(signal.SIGTERM)
        agent.wait(PATIENCE)
    assert read_json(folder.attempt_folder(1) / "attempt.json")["cause"] == "preempted"


def test_the_head_judges_even_where_its_workers_leave_last(tmp_path: Path) -> None:
    slow = TRAINS.replace("    return 0\n", "    time.sleep(3 if rank == 0 else 0)\n    return 0\n")
    # The other node's agent must find the word that all have left.
    slow = slow.replace(
        '    if rank == 0:\n        out(folder, "attempts/0001/left.json"',
        '    time.sleep(0 if rank == 0 else 1)\n    if rank == 0:\n        out(folder, "attempts/0001/left.json"',
    )
    folder = run_folder(tmp_path / "run", slow, nodes=2)
    no_slurm(folder, scontrol="echo JobId=77 JobState=RUNNING EndTime=2026-01-01T00:00:00 X=1")
    with agents(folder, 2, SLURM_JOB_END_TIME="9999999999") as both:
        up(folder, 2)
        for agent in both:
            agent.send_signal(signal.SIGUSR2)
        for agent in both:
            agent.wait(PATIENCE)
    assert read_json(folder.attempt_folder(1) / "attempt.json")["cause"] == "time_limit"


def test_a_notice_before_training_leaves_at_once(tmp_path: Path) -> None:
    body = "    from trainer.signals import NoticeFlag\n    NoticeFlag().install()\n"
    body += "    out(folder, f'up-{rank}', str(os.getpid()))\n    time.sleep(600)\n"
    folder = run_folder(tmp_path / "run", body)
    no_slurm(folder, scontrol="echo JobState=RUNNING")
    with agents(folder) as (agent,):
        (pid,) = up(folder, 1)
        agent.send_signal(signal.SIGUSR2)
        agent.wait(PATIENCE)
        assert not alive(pid)
    assert "no step was made" in read_json(folder.attempt_folder(1) / "attempt.json")["message"]
    assert "scontrol requeue 77" in calls(folder)


def test_a_job_that_somebody_cancelled_is_not_brought_back(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", TRAINS)
    no_slurm(folder, scontrol="echo JobState=CANCELLED")
    with agents(folder) as (agent,):
        up(folder, 1)
        agent.send_signal(signal.SIGTERM)
        agent.wait(PATIENCE)
    assert not [call for call in calls(folder) if "requeue" in call or "sbatch" in call]
    assert "requeued" not in [event for event, _ in told(folder)]
    assert "cancelled already" in read_json(folder.attempt_folder(1) / "attempt.json")["message"]


def test_where_requeue_is_forbidden_a_job_is_chained(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", TRAINS)
    no_slurm(folder, scontrol="[ $1 = show ] && echo JobState=RUNNING", sbatch="echo 78")
    variables = {"SLURMWRIGHT_PYTHON": "/usr/bin/python3", "SLURMWRIGHT_STORE": "/store", "SLURM_JOB_NAME": "x"}
    with agents(folder, 1, **variables) as (agent,):
        up(folder, 1)
        agent.send_signal(signal.SIGTERM)
        agent.wait(PATIENCE)
    (chained,) = [call for call in calls(folder) if call.startswith("sbatch")]
    assert "--dependency=singleton" in chained
    assert chained.endswith(f"{folder.script} {folder.path} /usr/bin/python3 /store")
    submitted = [event for event in folder.events() if event["event"] == "submitted"]
    assert [(event["job_id"], event["attempt"]) for event in submitted] == [("78", 2)]


def test_a_trial_of_an_array_is_chained_by_its_number(tmp_path: Path) -> None:
    """As its sweep was submitted: its script finds the run by the element's number in the chunk's list."""
    folder = run_folder(tmp_path / "run", TRAINS)
    chunk = tmp_path / "sweep" / "chunks" / "0001"
    chunk.parent.mkdir(parents=True)
    chunk.with_suffix(".sbatch").touch()
    folder.script.symlink_to(chunk.with_suffix(".sbatch"))
    no_slurm(folder, scontrol="[ $1 = show ] && echo JobState=RUNNING JobName=sweep.0001", sbatch="echo 78")
    variables = {"SLURMWRIGHT_PYTHON": "/usr/bin/python3", "SLURMWRIGHT_STORE": "/store"}
    array = {"SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "12"}
    with agents(folder, 1, **variables, **array) as (agent,):
        up(folder, 1)
        agent.send_signal(signal.SIGTERM)
        agent.wait(PATIENCE)
    (chained,) = [call for call in calls(folder) if call.startswith("sbatch")]
    assert chained == (
        f"sbatch --parsable --array=12 --dependency=afterany:70_12 --chdir={tmp_path}/sweep "
        f"--output={chunk}/%a/slurm-%A_%a.log {chunk}.sbatch {tmp_path}/sweep {chunk}.txt /usr/bin/python3 /store"
    )
    [event] = [event for event in folder.events() if event["event"] == "submitted"]
    assert (event["job_id"], event["attempt"]) == ("78_12", 2)


TALKS = """
    import torch, torch.distributed as dist
    dist.init_process_group("gloo")
    out(folder, f"up-{rank}", str(os.getpid()))
    while True:
        dist.all_reduce(torch.ones(1))
        time.sleep(0.05)
"""
"""Workers that notice at once when another is gone."""


def test_a_node_that_was_lost_is_left_out_next_time(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", TALKS, nodes=2)
    no_slurm(folder, scontrol="echo JobState=RUNNING")
    with agents(folder, 2) as both:
        up(folder, 2)
        both[1].kill()
        assert both[0].wait(PATIENCE) == 4
    assert "scontrol update JobId=77 ExcNodeList=127.0.0.2" in calls(folder)
    assert not folder.result()


@pytest.mark.parametrize(
    ("others", "excluded"),
    [("", []), ("n3 idle", ["127.0.0.2"]), ("n3 idle*", []), ("n3 down", [])],
    ids=["none", "one", "one that does not answer", "one that is down"],
)
def test_a_small_site_keeps_the_nodes_that_the_job_needs(tmp_path: Path, others: str, excluded: list[str]) -> None:
    folder = run_folder(tmp_path / "run", TALKS, nodes=2)
    nodes = f"printf '127.0.0.1 alloc\\n127.0.0.2 alloc\\n{others}\\n'"
    no_slurm(folder, scontrol="echo JobState=RUNNING Partition=low NumNodes=2", sinfo=nodes)
    with agents(folder, 2) as both:
        up(folder, 2)
        both[1].kill()
        both[0].wait(PATIENCE)
    updates = [call for call in calls(folder) if "ExcNodeList" in call]
    assert updates == [f"scontrol update JobId=77 ExcNodeList={node}" for node in excluded]
    assert "scontrol requeue 77" in calls(folder)


def test_a_job_that_slurm_has_started_again_by_itself_is_left_alone(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", TRAINS)
    no_slurm(folder, scontrol="echo JobState=RUNNING Restarts=1")
    with agents(folder) as (agent,):
        up(folder, 1)
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(PATIENCE) == 143
    assert not [call for call in calls(folder) if "requeue" in call or call.startswith("sbatch")]
    assert not folder.result()


def test_a_hang_is_found_and_shows_its_stacks(tmp_path: Path) -> None:
    body = """
    from trainer.beat import Beat
    from trainer.signals import NoticeFlag
    NoticeFlag().install()
    Beat(Path(folder) / "attempts/0001").strike()
    def hangs_here():
        time.sleep(600)
    hangs_here()
"""
    folder = run_folder(tmp_path / "run", body, devices=2, limits={"stall": 1})
    with agents(folder) as (agent,):
        assert agent.wait(PATIENCE) == 4
    assert folder.result()["cause"] == "stalled" and "limits.stall=1" in folder.result()["message"]
    log = next(folder.attempt_folder(1).glob("*.log")).read_text()
    assert log.count("in hangs_here") == 2


def test_a_node_that_goes_silent_is_lost(tmp_path: Path) -> None:
    """Stopped, as one that is cut off the network: no connection breaks, it only says nothing any more."""
    folder = run_folder(tmp_path / "run", TRAINS, nodes=2)
    file = folder.code / "trainer" / "peers.py"
    file.write_text(file.read_text().replace("SILENCE = 30.0", "SILENCE = 2.0"))
    no_slurm(folder, scontrol="echo JobState=RUNNING")
    with agents(folder, 2) as both:
        up(folder, 2)
        both[1].send_signal(signal.SIGSTOP)
        assert both[0].wait(PATIENCE) == 4
        both[1].send_signal(signal.SIGCONT)
    record = read_json(folder.attempt_folder(1) / "attempt.json")
    assert (record["cause"], record["culprit"]) == ("node_failure", "127.0.0.2")
    assert "scontrol update JobId=77 ExcNodeList=127.0.0.2" in calls(folder)


def test_an_attempt_without_a_word_is_closed_by_the_next(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", "    finish(folder)\n    return 0\n")
    write_json(folder.attempt_folder(1) / "attempt.json", {"attempt": 1, "ended": None})
    folder.attempt_folder(2).mkdir()
    with agents(folder, SLURMWRIGHT_ATTEMPT="2") as (agent,):
        assert agent.wait(PATIENCE) == 0
    before = read_json(folder.attempt_folder(1) / "attempt.json")
    assert (before["cause"], bool(before["ended"])) == ("node_failure", True)


def test_the_aftermath_of_a_killed_agent(tmp_path: Path) -> None:
    import subprocess
    import sys

    folder = run_folder(tmp_path / "run", TRAINS)
    no_slurm(folder, scontrol="echo JobState=RUNNING")
    with agents(folder) as (agent,):
        up(folder, 1)
        agent.kill()
        agent.wait(PATIENCE)
    environ = os.environ | {
        "PATH": f"{folder.path / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(folder.code),
        "SLURMWRIGHT_ATTEMPT": "1", "SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "127.0.0.1", "SLURM_NODEID": "0",
    }  # fmt: skip
    command = [sys.executable, "-m", "trainer", "aftermath", str(folder.path), "137"]
    for _ in range(2):
        subprocess.run(command, env=environ, cwd=folder.code, check=True, timeout=PATIENCE)
    assert [call for call in calls(folder) if "requeue" in call] == ["scontrol requeue 77"]
    record = json.loads((folder.attempt_folder(1) / "attempt.json").read_text())
    assert record["cause"] == "worker_killed" and "SIGKILL" in record["message"]
