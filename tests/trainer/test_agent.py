"""Agents as a job starts them: workers come up together, and go together, and the run folder tells how it ended."""

import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from conf.folder import RunFolder, read_json, write_json
from tests.trainer.agents import (
    PATIENCE,
    REPOSITORY,
    agents,
    alive,
    processes_of,
    run_folder,
    slurm,
    start,
    until,
    up,
)

pytestmark = pytest.mark.train
SLEEP = """
    out(folder, f"up-{rank}", str(os.getpid()))
    time.sleep(600)
"""
ADD = """
    import torch, torch.distributed as dist
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    total = torch.tensor([float(rank + 1)])
    dist.all_reduce(total)
    keys = "RANK LOCAL_RANK WORLD_SIZE LOCAL_WORLD_SIZE OMP_NUM_THREADS GLOO_SOCKET_IFNAME SLURMWRIGHT_ATTEMPT"
    keys += " HF_HUB_OFFLINE TRANSFORMERS_OFFLINE HF_DATASETS_OFFLINE DS_ACCELERATOR PYTHONSAFEPATH"
    out(folder, f"sum-{rank}", json.dumps({"sum": total.item(), **{key: os.environ[key] for key in keys.split()}}))
    print(f"worker {rank} adds")
    dist.barrier()
    dist.destroy_process_group()
    finish(folder)
    return 0
"""
ADD_FOR_EVER = """
    import torch, torch.distributed as dist
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    out(folder, f"up-{rank}", str(os.getpid()))
    while True:
        dist.all_reduce(torch.ones(1))
        time.sleep(0.05)
"""


def attempt(folder: RunFolder) -> dict[str, Any]:
    """attempt.json of attempt 1."""
    return read_json(folder.attempt_folder(1) / "attempt.json")


def events(folder: RunFolder) -> list[str]:
    """Names of the run's events."""
    return [event["event"] for event in folder.events()]


def test_workers_of_two_nodes_add_up(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", ADD, nodes=2, devices=2)
    with agents(folder, 2) as both:
        assert [agent.wait(PATIENCE) for agent in both] == [0, 0]
    seen = [json.loads((folder.path / f"sum-{rank}").read_text()) for rank in range(4)]
    assert [one["sum"] for one in seen] == [10.0] * 4
    assert [(one["RANK"], one["LOCAL_RANK"]) for one in seen] == [("0", "0"), ("1", "1"), ("2", "0"), ("3", "1")]
    assert {one["WORLD_SIZE"] + one["LOCAL_WORLD_SIZE"] + one["SLURMWRIGHT_ATTEMPT"] for one in seen} == {"421"}
    assert all(one["HF_HUB_OFFLINE"] == "1" and one["DS_ACCELERATOR"] == "cpu" for one in seen)
    record = attempt(folder)
    assert record["nodes"] == ["127.0.0.1", "127.0.0.2"]
    assert (record["cause"], record["message"], record["job_id"]) == ("completed", None, "77")
    assert record["operational"]["cluster"]["nodes"] == 2 and "seed" not in record["operational"]
    started = folder.events()[0]
    assert (started["event"], started["world_size"]) == ("started", 4)
    for node, ranks in (("127.0.0.1", (0, 1)), ("127.0.0.2", (2, 3))):
        log = (folder.attempt_folder(1) / f"{node}.log").read_text()
        assert all(f"worker {rank} adds" in log for rank in ranks)
    port = read_json(folder.attempt_folder(1) / "rendezvous.json")["port"]
    assert port < int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert not processes_of(folder)


def test_a_crash_on_one_node_ends_all_at_once_and_is_told(tmp_path: Path) -> None:
    """All other workers then crash too, with complaints about connections; these are not the cause."""
    body = ADD_FOR_EVER.replace("time.sleep(0.05)", "if rank == 3: raise ValueError('boom')")
    folder = run_folder(tmp_path / "run", body, nodes=2, devices=2)
    with agents(folder, 2) as both:
        assert [agent.wait(PATIENCE) for agent in both] == [4, 4]
        assert not processes_of(folder)
    result = folder.result()
    assert (result["status"], result["cause"]) == ("failed", "worker_crash")
    assert "worker 3 on 127.0.0.2 left with exit code 1" in result["message"]
    assert "ValueError: boom" in result["message"]
    assert attempt(folder)["cause"] == "worker_crash" and attempt(folder)["ended"]
    assert events(folder) == ["started", "requeued", "failed"]
    assert "another attempt was refused" in result["message"]


def test_what_a_worker_knows_of_its_failure_is_kept(tmp_path: Path) -> None:
    body = """
    note = {"cause": "out_of_memory", "message": "batch.micro=4 does not fit"}
    (Path(folder) / "attempts/0001" / f"failure-{rank}.json").write_text(json.dumps(note))
    return 1
"""
    folder = run_folder(tmp_path / "run", body, kind="local")
    agent = start(folder, {})
    assert agent.wait(PATIENCE) == 4
    agent.communicate()
    assert folder.result()["cause"] == "out_of_memory"
    assert folder.result()["message"] == "batch.micro=4 does not fit"


def test_a_killed_worker_is_told_from_a_crash_and_its_children_go_too(tmp_path: Path) -> None:
    body = """
    import subprocess
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    out(folder, "child", str(child.pid))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    folder = run_folder(tmp_path / "run", body)
    with agents(folder) as (agent,):
        assert agent.wait(PATIENCE) == 4
    assert folder.result()["cause"] == "worker_killed"
    assert "SIGKILL" in folder.result()["message"]
    assert not alive(int((folder.path / "child").read_text()))


def test_workers_die_with_an_agent_that_is_killed(tmp_path: Path) -> None:
    body = (
        """
    import multiprocessing
    loader = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    loader.start()
    out(folder, f"up-{2 + rank}", str(loader.pid))
"""
        + SLEEP
    )
    folder = run_folder(tmp_path / "run", body, devices=2)
    with agents(folder) as (agent,):
        pids = up(folder, 4)
        assert all(alive(pid) for pid in pids)
        agent.kill()
        until(lambda: not any(alive(pid) for pid in pids), "workers and loaders are gone")


@pytest.mark.parametrize("killed", [0, 1])
def test_the_loss_of_one_node_ends_the_others(tmp_path: Path, killed: int) -> None:
    folder = run_folder(tmp_path / "run", ADD_FOR_EVER, nodes=2)
    with agents(folder, 2) as both:
        up(folder, 2)
        both[killed].kill()
        assert both[1 - killed].wait(PATIENCE) == 4
        until(lambda: not processes_of(folder), "workers are gone")
    if killed == 1:
        assert folder.result()["cause"] == "node_failure"
        assert "127.0.0.2" in folder.result()["message"]


def test_sigterm_ends_the_workers_and_the_run_can_go_on(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", SLEEP, devices=2)
    with agents(folder) as (agent,):
        pids = up(folder, 2)
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(PATIENCE) == 143
        assert not any(alive(pid) for pid in pids)
    assert attempt(folder)["cause"] == "preempted"
    assert "preempted" in events(folder) and not folder.result()


def test_workers_that_do_not_heed_sigterm_are_killed(tmp_path: Path) -> None:
    body = "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEP
    folder = run_folder(tmp_path / "run", body)
    with agents(folder) as (agent,):
        (pid,) = up(folder, 1)
        agent.send_signal(signal.SIGINT)
        assert agent.wait(PATIENCE) == 130
        assert not alive(pid)


def test_when_slurm_signals_the_workers_first_it_is_still_no_crash(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", SLEEP)
    with agents(folder, SLURM_JOB_END_TIME="1000") as (agent,):
        (pid,) = up(folder, 1)
        os.kill(pid, signal.SIGTERM)
        time.sleep(0.3)
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(PATIENCE) == 143
    assert attempt(folder)["cause"] == "time_limit"
    assert "timed_out" in events(folder)


def test_a_cancelled_run_says_so(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", SLEEP)
    with agents(folder) as (agent,):
        up(folder, 1)
        folder.append_event("cancelled", 1)
        write_json(folder.result_file, {"status": "cancelled", "cause": "cancelled"})
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(PATIENCE) == 143
    assert attempt(folder)["cause"] == "cancelled"
    assert folder.result()["status"] == "cancelled"
    assert events(folder) == ["started", "cancelled"]


def test_a_node_that_does_not_come_is_named(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", SLEEP, nodes=2)
    file = folder.code / "trainer" / "node.py"
    text, count = re.subn("^ARRIVAL = .*$", "ARRIVAL = 1.0", file.read_text(), flags=re.MULTILINE)
    assert count == 1
    file.write_text(text)
    agent = start(folder, slurm(2, 0))
    assert agent.wait(PATIENCE) == 4
    agent.communicate()
    assert folder.result()["cause"] == "node_failure"
    assert folder.result()["message"].startswith("no word from 127.0.0.2 within 1 s")


def test_a_result_outlives_a_crash_on_the_way_out(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", "    finish(folder)\n    return rank\n", devices=2)
    with agents(folder) as (agent,):
        assert agent.wait(PATIENCE) == 0
    assert folder.result()["status"] == "completed"
    assert attempt(folder)["cause"] == "completed" and "worker 1" in attempt(folder)["message"]


def test_workers_that_leave_without_a_result_have_failed(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", "    print('so long')\n    return 0\n")
    with agents(folder) as (agent,):
        assert agent.wait(PATIENCE) == 4
    assert "without a result" in folder.result()["message"] and "so long" in folder.result()["message"]


def test_missing_assets_are_prepared_first(tmp_path: Path) -> None:
    prepare = "    out(folder, 'prepared')\n    return 0\n"
    worker = "    assert (Path(folder) / 'prepared').exists()\n    finish(folder)\n    return 0\n"
    folder = run_folder(tmp_path / "run", worker, nodes=2, prepare=prepare)
    write_json(folder.manifest_file, {"run_id": "run"})
    with agents(folder, 2) as both:
        assert [agent.wait(PATIENCE) for agent in both] == [0, 0]


def test_a_preparation_that_fails_is_told_on_all_nodes(tmp_path: Path) -> None:
    prepare = "    print('no such model: x/y', file=sys.stderr)\n    return 5\n"
    folder = run_folder(tmp_path / "run", SLEEP, nodes=2, prepare=prepare)
    write_json(folder.manifest_file, {"assets": {"data": {"path": str(tmp_path / "emptied")}}})
    with agents(folder, 2) as both:
        assert [agent.wait(PATIENCE) for agent in both] == [4, 4]
    assert folder.result()["cause"] == "launch_failed"
    assert "no such model: x/y" in folder.result()["message"]
    assert not (folder.path / "up-0").exists()


def test_a_node_that_comes_when_all_is_over_leaves_at_once(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", SLEEP, nodes=2)
    write_json(folder.attempt_folder(1) / "attempt.json", {"attempt": 1, "ended": "2026-01-01T00:00:00+00:00"})
    agent = start(folder, slurm(2, 1))
    assert agent.wait(PATIENCE) == 4
    agent.communicate()


def test_a_local_run_is_one_node_even_inside_an_allocation(tmp_path: Path) -> None:
    worker = "    out(folder, 'where', os.environ['MASTER_ADDR'])\n    finish(folder)\n    return 0\n"
    folder = run_folder(tmp_path / "run", worker, kind="local")
    agent = start(folder, slurm(2, 0))
    assert agent.wait(PATIENCE) == 0
    agent.communicate()
    assert (folder.path / "where").read_text() == "127.0.0.1"
    assert attempt(folder)["job_id"] is None
    assert not (folder.attempt_folder(1) / "rendezvous.json").exists()


def test_another_number_of_nodes_is_refused(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", SLEEP, nodes=3)
    agent = start(folder, slurm(2, 0))
    _, err = agent.communicate(timeout=PATIENCE)
    assert agent.returncode == 4
    assert "cluster.nodes=3" in err and "the job has 2" in err and "Traceback" not in err
    assert folder.result()["cause"] == "launch_failed"


def test_code_that_is_not_the_runs_own_is_refused(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", SLEEP)
    agent = start(folder, slurm(1, 0), cwd=REPOSITORY)
    _, err = agent.communicate(timeout=PATIENCE)
    assert agent.returncode == 4
    assert str(folder.code) in err and "Traceback" not in err
    assert attempt(folder)["cause"] == "launch_failed"


def test_a_finished_run_leaves_at_once(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", SLEEP)
    write_json(folder.result_file, {"status": "completed", "cause": "completed"})
    with agents(folder) as (agent,):
        assert agent.wait(PATIENCE) == 0
    assert not folder.events_file.exists() and not (folder.attempt_folder(1) / "attempt.json").exists()


def test_two_jobs_with_one_head_do_not_meet(tmp_path: Path) -> None:
    """Their ids differ by the run alone, so only ports that are really held keep them apart."""
    worker = """
    out(folder, f"port-{rank}", os.environ["MASTER_PORT"])
    # As workers that meet do: none is done before all have begun, else a late agent finds the run finished.
    while not all((Path(folder) / f"port-{one}").exists() for one in range(2)):
        time.sleep(0.05)
    finish(folder)
    return 0
"""
    runs = [run_folder(tmp_path / name, worker, nodes=2) for name in ("a", "b")]
    with agents(runs[0], 2) as first, agents(runs[1], 2) as second:
        assert [agent.wait(PATIENCE) for agent in (*first, *second)] == [0, 0, 0, 0]
    ports = [{(folder.path / f"port-{rank}").read_text() for rank in range(2)} for folder in runs]
    assert [len(seen) for seen in ports] == [1, 1] and ports[0] != ports[1]
