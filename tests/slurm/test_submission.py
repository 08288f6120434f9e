"""The batch script on a real Slurm, with an agent that only tells what it was given: quoting, places, environment."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from conf.folder import RunFolder
from launcher.slurm import queue
from launcher.slurm.submit import submit
from launcher.state import job_ids, state_of
from tests.launcher.folders import config, run
from tests.slurm.cluster import Cluster
from tests.slurm.launching import Login, wait_for_event

REPOSITORY = Path(__file__).parents[2]
HOSTILE = """it's "x" \\ $(touch pwned) `touch pwned` #no ;touch pwned & $HOME"""
AGENT = """
import json, os, pathlib, sys, time
wanted = {name: value for name, value in os.environ.items() if name.startswith(("SLURM", "PYTHON", "X", "CUDA"))}
facts = {"argv": sys.argv[1:], "cwd": os.getcwd(), "env": wanted}
pathlib.Path(sys.argv[2], "facts-" + os.environ["SLURM_NODEID"]).write_text(json.dumps(facts))
time.sleep(float(os.environ.get("X_NAP", "0")))
print("agent was here", flush=True)
"""
HERE = """
import sys
from launcher import here
from tests.launcher.folders import config
from conf.folder import RunFolder
sys.exit(here.start(config(cluster={"kind": "here", "nodes": 2}), RunFolder(sys.argv[1])))
"""
SANDBOX: dict[str, Any] = {"cluster": {"nodes": 2, "devices_per_node": 2, "time": "0:05:00"}, "gpu": {"type": "h100"}}


@pytest.fixture(autouse=True)
def login(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is on the cluster's login node."""
    for name, value in cluster.env.items():
        monkeypatch.setenv(name, value)


def with_agent(folder: RunFolder) -> RunFolder:
    package = folder.code / "trainer"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(AGENT)
    return folder


def facts(folder: RunFolder, node: int, timeout: float = 180) -> dict[str, Any]:
    """What the agent of a node was given, once it has said so."""
    file = folder.path / f"facts-{node}"
    deadline = time.monotonic() + timeout
    while not (file.exists() and file.read_text().endswith("}")):
        logs = [log.read_text() for log in folder.attempts.glob("*.log")]
        assert time.monotonic() < deadline, f"no word of node {node}: {logs}"
        time.sleep(0.1)
    told: dict[str, Any] = json.loads(file.read_text())
    return told


def test_hostile_values_and_places_are_inert(tmp_path: Path) -> None:
    folder = with_agent(run(tmp_path / "r 'u' $(touch pwned) `touch pwned` \"n\" 100%j", "mine"))
    site = {
        "partition": "low", "environment": {"X_HOSTILE": HOSTILE, "X_NAP": "2"}, "srun": [f"--comment={HOSTILE}"],
        "sbatch": {"comment": HOSTILE}, "cpus_per_task": 2,
    }  # fmt: skip
    job_id = submit(config(**SANDBOX, site=site), folder)
    assert queue.find(folder, ()) == job_id
    told = [facts(folder, node) for node in range(2)]
    for node in told:
        assert node["argv"] == ["agent", str(folder.path)]
        assert node["cwd"] == node["env"]["PYTHONPATH"] == str(folder.code)
        assert node["env"]["X_HOSTILE"] == HOSTILE
        assert node["env"]["SLURMWRIGHT_ATTEMPT"] == "1"
        assert node["env"]["SLURM_CPUS_ON_NODE"] == "2"
        assert node["env"]["CUDA_VISIBLE_DEVICES"].count(",") == 1
    assert [node["env"]["SLURMD_NODENAME"] for node in told] == sorted(node["env"]["SLURMD_NODENAME"] for node in told)
    shown = subprocess.run(
        ["scontrol", "show", "job", job_id], capture_output=True, text=True, timeout=180, check=True
    ).stdout
    assert f"Comment={HOSTILE}" in shown
    assert "JobName=mine" in shown
    assert f"WorkDir={folder.code}" in shown
    assert queue.wait_until_gone(job_id, 60)
    assert "agent was here" in (folder.attempts / f"slurm-{job_id}.log").read_text()
    assert not list(tmp_path.rglob("pwned"))
    state = state_of(folder, queue.look(job_ids([folder])))
    assert state.job is not None
    assert (state.status, state.job.state) == ("lost", "COMPLETED")  # this agent leaves no result


def test_a_site_that_exports_nothing_has_an_environment_in_steps(tmp_path: Path) -> None:
    folder = with_agent(run(tmp_path))
    submit(
        config(**SANDBOX, site={"partition": "low", "sbatch": {"export": "NONE"}, "environment": {"X": "y"}}), folder
    )
    env = facts(folder, 0)["env"]
    assert (env["X"], env["PYTHONPATH"]) == ("y", str(folder.code))


def test_a_setup_that_fails_is_told_from_the_jobs_own_log(tmp_path: Path) -> None:
    folder = with_agent(run(tmp_path))
    job_id = submit(config(**SANDBOX, site={"partition": "low", "setup": ["echo no such disk >&2; exit 7"]}), folder)
    assert queue.wait_until_gone(job_id, 60)
    state = state_of(folder, queue.look(job_ids([folder])))
    assert (state.status, state.cause) == ("failed", "launch_failed")
    assert (folder.attempts / f"slurm-{job_id}.log").read_text() == "no such disk\n"
    assert folder.attempt_numbers() == []


def test_here_uses_the_nodes_of_the_allocation(tmp_path: Path) -> None:
    folder = with_agent(run(tmp_path / "r u$n"))
    command = ["salloc", "--partition=low", "--nodes=2", sys.executable, "-c", HERE, str(folder.path)]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=90,
    )
    nodes = {facts(folder, node, 5)["env"]["SLURMD_NODENAME"] for node in range(2)}
    assert len(nodes) == 2
    assert "mine: lost" in done.stdout, done.stderr  # this agent leaves no result
    assert done.returncode == 4


def test_a_job_held_after_a_failed_launch_is_told_and_released(cluster: Cluster, tmp_path: Path) -> None:
    """A node that cannot write its spool folder, as one that still runs an old start, fails the launch."""
    person = Login(cluster, tmp_path, tmp_path / "store")
    spool = Path(cluster.layout.folder) / "spool" / "n4"
    kept = spool.rename(spool.with_name("n4.kept"))
    try:
        spool.touch()
        folder = person.submit("+model=smollm2_135m", "site.prepare=run", "site.nodelist=n4", "cluster.nodes=1")
        deadline = time.monotonic() + 180
        while (row := person.launcher("status", folder.id)["runs"][0])["reason"] != queue.LAUNCH_FAILED:
            assert time.monotonic() < deadline, row
            time.sleep(1)
    finally:
        spool.unlink(missing_ok=True)
        kept.rename(spool)
    cluster.run(["scontrol", "update", "nodename=n4", "state=resume"], check=False)  # Slurm may have drained it
    try:
        assert person.launcher("resume", folder.id)["job_id"] == row["job_id"]
        wait_for_event(folder, "started")
    finally:
        person.launcher("cancel", folder.id)
    assert [line["job_id"] for line in folder.events() if line["event"] == "submitted"] == [row["job_id"]]
