"""Rules between the cluster, its site and its devices: time limits, what is asked for, what a local run leaves out."""

from collections.abc import Iterator

from conf.schema.rules.reading import is_set
from conf.schema.rules.registry import Finding, rule
from conf.schema.run import RunConfig
from conf.schema.sbatch_flags import canonical


def seconds(limit: str) -> int:
    """A time limit in seconds, as Slurm reads it: `minutes`, `minutes:seconds`, `hours:minutes:seconds`, and behind
    `days-` from hours on."""
    days, dash, rest = limit.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:
        hours, minutes, rest_seconds = (*parts, 0, 0)[:3]
        return ((int(days) * 24 + hours) * 60 + minutes) * 60 + rest_seconds
    if len(parts) == 3:
        return (parts[0] * 60 + parts[1]) * 60 + parts[2]
    minutes, rest_seconds = (*parts, 0)[:2]
    return minutes * 60 + rest_seconds


@rule(
    "time-partition",
    reads=("cluster.time", "cluster.kind", "site.max_time"),
    reason="a partition takes no job that asks for more time than its limit",
    fix="use a cluster.time up to the partition's, runs go on from their checkpoints; or another site.partition",
    fails="sbatch: error: Requested time limit is invalid, or the job is held for ever as PartitionTimeLimit",
)
def time_partition(config: RunConfig) -> Iterator[Finding]:
    most, asked = config.site.max_time, config.cluster.time
    if config.cluster.kind == "slurm" and most is not None and 0 < seconds(most) < seconds(asked):
        yield (
            "cluster.time",
            f"cluster.time={asked} is more than the {most} of {config.site.partition or 'the partition'}: use "
            f"cluster.time={most}, the run goes on from its checkpoint in a further job",
        )


@rule(
    "time-none",
    reads=("cluster.time", "cluster.kind"),
    reason="a run saves in time before its limit, so there must be one",
    fix="give cluster.time the time that the job may take",
    fails="Slurm takes 0 for no limit, and the agent for one that is over: it names every end a time limit",
)
def time_none(config: RunConfig) -> Iterator[Finding]:
    if config.cluster.kind == "slurm" and seconds(config.cluster.time) == 0:
        yield (
            "cluster.time",
            f"cluster.time={config.cluster.time} is no time: use cluster.time=1-00:00:00, or the site's limit",
        )


@rule(
    "gpu-unrequested",
    reads=("gpu.device", "gpu.type", "cluster.kind", "site.gpu_request", "site.sbatch"),
    reason="Slurm gives a job the devices that it asks for",
    fix="give gpu.type as Slurm names the device, or site.gpu_request=none where nodes are given whole",
    fails="the job has no GPU: torch raises RuntimeError: No CUDA GPUs are available",
)
def gpu_unrequested(config: RunConfig) -> Iterator[Finding]:
    asked = {canonical(flag) for flag in config.site.sbatch} & {"gres", "tres-per-task", "cpus-per-gpu"}
    if config.cluster.kind != "slurm" or config.gpu.device != "cuda" or config.gpu.type is not None or asked:
        return
    if config.site.gpu_request != "none":
        yield (
            "gpu.type",
            f"gpu={config.gpu.name} has no name in Slurm, so that no device would be asked for: add gpu.type=NAME (as "
            "in `sinfo -o %G`), or site.gpu_request=none",
        )


@rule(
    "after-local",
    reads=("after", "cluster.kind"),
    reason="Slurm holds a run back until another is done; on this machine nobody does",
    fix="start the run when the other is done, or use a Slurm cluster",
    fails="the run starts at once, beside the one that it was to wait for",
)
def after_local(config: RunConfig) -> Iterator[Finding]:
    if config.after is not None and config.cluster.kind != "slurm":
        yield (
            "after",
            f"after={config.after} needs a Slurm cluster, which cluster.kind={config.cluster.kind} is not: leave it "
            "out, and start this run when the other is done",
        )


_SLURM_ONLY = (
    "partition", "account", "qos", "constraint", "exclude", "nodelist", "reservation", "mem", "cpus_per_task",
    "exclusive", "mail", "begin", "dependency", "sbatch", "modules", "setup", "srun", "container",
)  # fmt: skip
"""Fields of a site that a run on this machine does not look at."""


@rule(
    "site-local",
    reads=("cluster.kind", "site.name", *(f"site.{name}" for name in _SLURM_ONLY)),
    reason="what is asked of Slurm has no meaning on this machine",
    fix="leave the site's fields out with cluster=local, or use a Slurm cluster",
    warning=True,
)
def site_local(config: RunConfig) -> Iterator[Finding]:
    # A site's own file says what holds on Slurm; only what was typed beside it is worth a word.
    typed = [f"site.{name}" for name in _SLURM_ONLY if is_set(config, f"site.{name}")]
    if config.cluster.kind == "local" and config.site.name == "default" and typed:
        yield typed[0], f"{', '.join(typed)} has no effect with cluster=local: leave it out, or use a Slurm cluster"


@rule(
    "cpus-workers",
    reads=("site.cpus_per_task", "cluster.devices_per_node"),
    reason="the CPUs of the one task on a node are shared by its workers",
    fix="ask for a few CPUs a device",
    warning=True,
)
def cpus_workers(config: RunConfig) -> Iterator[Finding]:
    cpus, workers = config.site.cpus_per_task, config.cluster.devices_per_node
    if cpus is not None and cpus < workers and config.cluster.kind == "slurm":
        yield (
            "site.cpus_per_task",
            f"site.cpus_per_task={cpus} is less than one CPU for each of the {workers} workers of a node: use "
            f"site.cpus_per_task={workers * 4}",
        )


@rule(
    "cpus-threads",
    reads=("cluster.cpu_threads", "cluster.devices_per_node", "site.cpus_per_task"),
    reason="more threads than CPUs wait for each other",
    fix="use fewer cluster.cpu_threads, or more site.cpus_per_task",
    warning=True,
)
def cpus_threads(config: RunConfig) -> Iterator[Finding]:
    cpus, threads, workers = config.site.cpus_per_task, config.cluster.cpu_threads, config.cluster.devices_per_node
    if cpus is not None and threads is not None and threads * workers > cpus >= workers:
        yield (
            "cluster.cpu_threads",
            f"cluster.cpu_threads={threads} x {workers} workers = {threads * workers} threads on "
            f"site.cpus_per_task={cpus} CPUs: use cluster.cpu_threads={cpus // workers}",
        )


@rule(
    "cpu-devices",
    reads=("gpu.device", "cluster.kind", "cluster.devices_per_node", "site.cpus_per_task"),
    reason="workers without GPUs compute on CPUs, of which a task has one unless it asks for more",
    fix="add site.cpus_per_task",
    warning=True,
)
def cpu_devices(config: RunConfig) -> Iterator[Finding]:
    cluster, workers = config.cluster, config.cluster.devices_per_node
    if cluster.kind == "slurm" and config.gpu.device == "cpu" and workers > 1 and config.site.cpus_per_task is None:
        yield (
            "site.cpus_per_task",
            f"{workers} workers of a node share the site's default number of CPUs, often one: add "
            f"site.cpus_per_task={workers * 4}",
        )
