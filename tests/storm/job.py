"""The job that the storm hits, and its calm twin."""

from pathlib import Path

from conf.folder import RunFolder
from tests.faults import workload
from tests.slurm.launching import Login
from tests.storm.schedule import Fault, last_mark

ROWS = 320
INTERVAL = 10
"""Steps between checkpoints."""
EVALUATION = 25
"""Steps between evaluations."""
NODES = 2
AFTER = 60
"""Steps for which a restart of slurmctld is overlooked: the run goes on meanwhile."""
MANY = 100_000


def total_steps(faults: list[Fault]) -> int:
    """Steps of the run, so many that the last fault hits it, and several epochs in any case (40 steps each)."""
    restarts = sum(fault.kind in ("slurmctld", "slurmd") for fault in faults)
    return max(last_mark(faults) + AFTER * restarts + 40, 120)


def words(home: Path, root: Path, name: str, steps: int, interval: int = INTERVAL) -> list[str]:
    """What a person would type. Budgets are as wide as the storm is long."""
    budgets = [f"limits.{name}={MANY}" for name in ("preemptions", "time_limits", "node_failures", "crashes")]
    return [
        *workload.words(home, adapter="full", packing=False), f"name={name}", f"run.root={root}",
        f"cluster.nodes={NODES}", "cluster.devices_per_node=1", "batch.global=8", "batch.micro=2",
        f"method.max_steps={steps}", f"checkpoint.interval={interval}", "checkpoint.keep=4",
        "limits.notice=10", *budgets,
    ]  # fmt: skip


def submit(login: Login, root: Path, name: str, steps: int) -> RunFolder:
    """Submit it. It is prepared in the job, so that a fault may hit that, too."""
    more = [f"evaluation.interval={EVALUATION}", "site.prepare=run"]
    return login.submit(*words(login.folder, root, name, steps), *more)
