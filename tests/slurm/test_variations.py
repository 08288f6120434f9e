"""Sites that differ from the session's cluster: each boots one of its own, without accounting. Same weights on all."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from conf.folder import RunFolder, read_json
from sweeps.folder import SweepFolder, run_of
from tests.faults import inflict, workload
from tests.faults.processes import held, processes, send, workers
from tests.faults.watch import Watch
from tests.slurm.cluster import Cluster, daemons
from tests.slurm.conftest import suffix
from tests.slurm.launching import Login, completed, wait_for_end

VARIATIONS: dict[str, dict[str, Any]] = {
    "pgid": {"proctrack": "pgid"},
    "user_signal": {
        "more": "SlurmctldParameters=preempt_send_user_signal\nJobAcctGatherParams=OverMemoryKill\n"
        "JobAcctGatherFrequency=task=1\n",
    },
}
STEPS = 60
START = 240.0
"""Seconds until a run must train, or be told."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("variations")
    workload.build(folder, rows=80)
    return folder


@pytest.fixture(scope="module")
def login(request: pytest.FixtureRequest, home: Path) -> Iterator[Login]:
    cluster = Cluster.boot(
        f"v{suffix(os.getpid())[1:]}", owner=os.getpid(), accounting=False, **VARIATIONS[request.param]
    )
    try:
        yield Login(cluster, home, home / "store")
    finally:
        cluster.down()


class Calm:
    """The run that nothing disturbs, on the first cluster that there is, beside those that are disturbed."""

    def __init__(self, home: Path) -> None:
        self._run = RunFolder(home / "runs" / "calm")

    def start(self, login: Login) -> None:
        """Submit it, once for all clusters."""
        if not self._run.path.exists():
            submit(login, "calm", "n4")

    def digest(self) -> str:
        """Its weights', once it is done."""
        completed(self._run)
        return workload.digest(self._run)


@pytest.fixture(scope="module")
def calm(home: Path) -> Calm:
    return Calm(home)


def words(login: Login, node: str, *more: str) -> list[str]:
    return [
        *workload.words(login.folder, adapter="lora", packing=False), f"method.max_steps={STEPS}", "batch.global=4",
        "batch.micro=1", "cluster.nodes=1", "cluster.devices_per_node=1", "checkpoint.interval=1000",
        "data.eval_fraction=0", "limits.notice=10", f"site.nodelist={node}", *more,
    ]  # fmt: skip


def submit(login: Login, name: str, node: str, *more: str) -> RunFolder:
    return login.submit(*words(login, node, *more), f"name={name}")


def submit_trial(login: Login, node: str, *more: str) -> RunFolder:
    """The second trial of a sweep, whose first one is a run of two steps."""
    swept = [word for word in words(login, node, *more) if not word.startswith("method.max_steps=")]
    answer = login.launcher("+cluster=sandbox", *swept, "-m", f"method.max_steps=2,{STEPS}", "sweep.name=trials")
    sweep = SweepFolder(answer["folder"])
    return run_of(sweep, sweep.trials()[1])


def trains(watch: Watch) -> Watch:
    watch.until(lambda run: run.step >= 3, START, "step 3")
    return watch


def told(watch: Watch, number: str) -> None:
    watch.until(lambda run: any(line["signal"] == number for line in run.of(1, "signal")), START, number)


def nothing_lost(watch: Watch, calm: Calm) -> None:
    """One restart, each step once, and the weights of the calm run."""
    completed(watch.folder)
    watch.look()
    assert [line["cause"] for line in watch.events if line["event"] == "requeued"] == ["preempted"]
    assert watch.attempt == 2
    assert [line["step"] for line in watch.losses] == list(range(1, STEPS + 1))
    assert workload.digest(watch.folder) == calm.digest()


def jobs(watch: Watch) -> list[str]:
    """The run's jobs in order; where there is a second one, a failure shows why."""
    submitted = [line for line in watch.events if line["event"] == "submitted"]
    print(watch.folder.id, [(line["job_id"], line.get("why")) for line in submitted])
    return [str(line["job_id"]) for line in submitted]


def amid(holding: ExitStack, folder: RunFolder) -> Watch:
    """A run that was just submitted, held amid a step until the block ends: by itself it takes seconds."""
    watch = trains(Watch(folder))
    holding.enter_context(held(workers(folder, 1)))
    return watch


def preempted(login: Login, watches: dict[str, Watch], notice: str) -> None:
    """Runs that are held on their nodes are told to leave."""
    for node in watches:
        inflict.preempt(login.cluster, node)
    for watch in watches.values():
        told(watch, notice)


@pytest.mark.parametrize("login", ["pgid"], indirect=True)
def test_processes_tracked_by_group(login: Login, calm: Calm) -> None:
    """One run is requeued; another and a sweep's trial may not be, and go on in a chain."""
    with ExitStack() as holding:
        trial = amid(holding, submit_trial(login, "n3", "site.requeue=false"))
        chained = amid(holding, submit(login, "chained", "n2", "site.requeue=false"))
        requeued = amid(holding, submit(login, "requeued", "n1"))
        preempted(login, {"n3": trial, "n2": chained, "n1": requeued}, "SIGTERM")
    calm.start(login)
    assert read_json(chained.folder.plan_file)["site"]["goes_on"] == "singleton chain"
    for watch in (requeued, chained, trial):
        nothing_lost(watch, calm)
    assert len(jobs(requeued)) == 1
    assert len(jobs(chained)) == len(jobs(trial)) == 2
    assert [job.partition("_")[2] for job in jobs(trial)] == ["2", "2"]
    assert login.cluster.job(jobs(chained)[1]).get("Requeue") == "0"


@pytest.mark.parametrize("login", ["user_signal"], indirect=True)
def test_a_site_that_sends_the_jobs_own_signal(login: Login, calm: Calm) -> None:
    """In place of SIGTERM, at the begin of the grace."""
    with ExitStack() as holding:
        watch = amid(holding, submit(login, "own-signal", "n1"))
        preempted(login, {"n1": watch}, "SIGUSR2")
    calm.start(login)
    nothing_lost(watch, calm)


@pytest.mark.parametrize("login", ["pgid"], indirect=True)
def test_a_notice_while_the_controller_is_away(login: Login, calm: Calm) -> None:
    """As slurmstepd hands it over; the requeue waits until slurmctld is there again."""
    watch = trains(Watch(submit(login, "away", "n3")))
    [agent] = [found for found in processes(watch.folder) if found.kind == "agent"]
    with held(workers(watch.folder, 1)):
        daemons.stop("slurmctld", login.cluster.head)
        send([agent], signal.SIGUSR2)
        told(watch, "SIGUSR2")
    log = watch.folder.attempt_folder(1) / f"{agent.node}.log"
    watch.until(lambda run: "asks again" in log.read_text(errors="replace"), START, "a second question")
    daemons.start_slurmctld(login.cluster.layout, login.cluster.head)
    calm.start(login)
    nothing_lost(watch, calm)


@pytest.mark.parametrize("login", ["user_signal"], indirect=True)
def test_a_step_that_slurm_kills_for_its_memory(login: Login) -> None:
    """Its agents are killed with it; it counts as a crash, and the same step never fails three times."""
    folder = submit(login, "hungry", "n2", "site.mem=200M")
    result = wait_for_end(folder)
    assert (result["status"], result["cause"]) == ("failed", "out_of_memory")
    assert "step 1 has failed twice in a row" in result["message"]
    [run] = login.launcher("status", "hungry")["runs"]
    assert [row["cause"] for row in run["history"]] == ["out_of_memory"] * 2
    assert "memory" in run["history"][0]["message"]
