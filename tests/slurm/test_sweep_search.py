"""A search on a real Slurm: of two workers one is preempted and one is killed; nothing is lost or told twice."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from conf.folder import RunFolder
from sweeps.folder import SweepFolder, run_of
from sweeps.study import Job, Study
from tests.faults import inflict
from tests.faults.processes import held, workers
from tests.slurm.cluster import Cluster, procfs
from tests.slurm.launching import Login, all_logs, completed
from tests.tiny import tiny_llama, tiny_rows
from tests.trainer.runs import weights

STEPS = 120
"""Enough for a trial to be held in the middle."""
_RATE = "method.learning_rate"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder on the cluster's shared file system, with a tiny model and rows."""
    folder = tmp_path_factory.mktemp("search")
    tiny_llama(folder / "tiny")
    tiny_rows(folder / "rows.jsonl", 160, seed=1)
    return folder


@pytest.fixture(scope="module")
def login(cluster: Cluster, home: Path) -> Iterator[Login]:
    """A person at the login node."""
    cluster.settle()
    yield Login(cluster, home, home / "store")


def words(home: Path) -> list[str]:
    """One worker a node, which it has to itself."""
    return [
        "+model=hf", f"model.id={home / 'tiny'}", "data=file", f"data.path={home / 'rows.jsonl'}", "data.max_length=64",
        "data.eval_rows=8", "batch.global=4", "batch.micro=4", f"method.max_steps={STEPS}", "cluster=sandbox",
        "cluster.devices_per_node=1", "site.exclusive=true", "checkpoint.interval=20", "tracking=none",
    ]  # fmt: skip


def until(true: Callable[[], bool], what: str, sweep: SweepFolder, timeout: float = 300) -> None:
    deadline = time.monotonic() + timeout
    while not true():
        if time.monotonic() > deadline:
            said = "\n".join(path.read_text(errors="replace")[-3000:] for path in sweep.workers.glob("*.log"))
            trials = "\n".join(all_logs(run_of(sweep, trial)) for trial in sweep.trials())
            raise AssertionError(f"{what}: not after {timeout:g} s\n{said}\n{trials}")
        time.sleep(0.2)


def jobs(sweep: SweepFolder) -> list[Job]:
    return [job for job in Study(sweep).jobs() if job.void is None]


def test_a_preempted_and_a_killed_worker(login: Login, home: Path, cluster: Cluster) -> None:
    asked = ["sweep=random", "sweep.name=two", "sweep.trials=3", "sweep.parallel=2"]
    sweep = SweepFolder(login.launcher(*words(home), *asked, f"{_RATE}=tag(log,interval(1e-3,1e-1))")["folder"])
    with contextlib.ExitStack() as both:
        preempted = held_trial(sweep, both, set())
        with contextlib.ExitStack() as other:
            killed = held_trial(sweep, other, {preempted.trial})
            os.kill(_worker(killed, sweep), signal.SIGKILL)
        inflict.preempt(cluster, _node(_run(sweep, preempted)))
        until(lambda: "signal" in _events(_run(sweep, preempted)), "the notice comes", sweep)
    until(lambda: [job.completed for job in jobs(sweep)] == [True] * 3, "all trials complete", sweep, 300)

    assert sorted(job.trial for job in jobs(sweep)) == [trial["number"] for trial in sweep.trials()]
    folder = _run(sweep, preempted)
    assert "requeued" in _events(folder)
    assert _steps(folder) == list(range(1, STEPS + 1)), "a step that was saved is not made again"
    assert sorted(set(_steps(_run(sweep, killed)))) == list(range(1, STEPS + 1))
    rate = preempted.frozen.params[_RATE]
    alone = RunFolder(login.launcher(*words(home), f"{_RATE}={rate:.6g}", "run.root=alone")["folder"])
    completed(alone)
    assert alone.id == folder.id
    found, expected = weights(folder.adapter), weights(alone.adapter)
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


def held_trial(sweep: SweepFolder, until_then: contextlib.ExitStack, others: set[int]) -> Job:
    """A job whose run has made some steps; its workers are held in the middle of it."""
    found: list[Job] = []

    def hold() -> bool:
        for job in jobs(sweep) if sweep.study.exists() else []:
            if job.running and job.run_id is not None and job.trial not in others and len(_steps(_run(sweep, job))) > 2:
                until_then.enter_context(held(workers(_run(sweep, job), 1)))
                if len(_steps(_run(sweep, job))) < STEPS:
                    found.append(job)
                    return True
        return False

    until(hold, "a trial trains", sweep)
    return found[0]


def _run(sweep: SweepFolder, job: Job) -> RunFolder:
    return RunFolder(sweep.root / str(job.run_id))


def _steps(folder: RunFolder) -> list[int]:
    return [line["step"] for line in folder.metrics() if "loss" in line]


def _events(folder: RunFolder) -> list[str]:
    return [line["event"] for line in folder.events()]


def _node(folder: RunFolder) -> str:
    [node] = next(line["nodes"] for line in folder.events() if line["event"] == "started")
    return str(node)


def _worker(job: Job, sweep: SweepFolder) -> int:
    """The process of a job's worker, as the real machine numbers it."""
    for pid in procfs.pids():
        if procfs.arguments(pid)[1:5] == ["-m", "sweeps", "worker", str(sweep.path)]:
            variables = dict(entry.partition("=")[::2] for entry in procfs.environment(pid))
            if f"{variables.get('SLURM_ARRAY_JOB_ID')}_{variables.get('SLURM_ARRAY_TASK_ID')}" == job.owner["job_id"]:
                return pid
    raise AssertionError(f"no worker of {job.owner}")
