"""The facts of the job that an agent belongs to: its nodes, which of them this is, and which start of the job."""

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

from conf.schema.cluster import ClusterConfig
from trainer.ends import Ended
from trainer.hostlist import HostlistError, expand


@dataclass(frozen=True)
class Job:
    """Where and as what an agent runs."""

    nodes: tuple[str, ...]
    """Names of all nodes, in rank order."""
    rank: int = 0
    """Index of this node in `nodes`."""
    job_id: str | None = None
    """Slurm's id of the job, None outside Slurm. `<array>_<task>` for a task of an array."""
    restart_count: int = 0
    """How often Slurm has requeued the job."""
    deadline: float | None = None
    """When the time limit ends the job, in seconds since the epoch; None where there is no limit."""

    @property
    def node(self) -> str:
        """This node's name."""
        return self.nodes[self.rank]

    @property
    def head(self) -> str:
        """Name of the node that the others meet at."""
        return self.nodes[0]

    @property
    def is_head(self) -> bool:
        """Whether this is the node that keeps the run's records."""
        return self.rank == 0


def job_of(cluster: ClusterConfig, environ: Mapping[str, str]) -> Job:
    """The job that `cluster` asks for, as the environment shows it.

    A local run is this machine alone, even inside somebody's Slurm allocation. Raises Ended (launch_failed) where the
    environment is not one task a node on as many nodes as the config has."""
    job = Job((socket.gethostname(),)) if cluster.kind == "local" else _slurm_job(cluster, environ)
    if len(job.nodes) != cluster.nodes:
        where = "this machine is one node" if cluster.kind == "local" else f"the job has {len(job.nodes)}"
        raise Ended("launch_failed", f"cluster.nodes={cluster.nodes}, but {where}: {','.join(job.nodes)}")
    return job


def is_first_task(environ: Mapping[str, str]) -> bool:
    """Whether this is the head's agent, as far as it can be told when the facts do not fit together."""
    return environ.get("SLURM_NODEID", "0") == "0"


def usable_cpus(cluster: ClusterConfig, environ: Mapping[str, str]) -> int:
    """CPUs that the processes of this node may use: what the kernel allows, less where Slurm has allotted less."""
    count = len(os.sched_getaffinity(0))
    if cluster.kind != "local":
        for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
            given = environ.get(name, "")
            if given.isdigit() and int(given) > 0:
                count = min(count, int(given))
    return count


def seconds(limit: str) -> int:
    """A time limit as Slurm reads it, in seconds: `M`, `M:S`, `H:M:S`, `D-H`, `D-H:M` or `D-H:M:S`."""
    days, dash, clock = limit.rpartition("-")
    fields = [int(field) for field in clock.split(":")]
    if dash:
        hours, minutes, rest = [*fields, 0, 0][:3]
        return ((int(days) * 24 + hours) * 60 + minutes) * 60 + rest
    if len(fields) == 3:
        return (fields[0] * 60 + fields[1]) * 60 + fields[2]
    return fields[0] * 60 + (fields[1] if len(fields) == 2 else 0)


def _slurm_job(cluster: ClusterConfig, environ: Mapping[str, str]) -> Job:
    nodes = _node_list(environ)
    rank = _number(environ, "SLURM_NODEID")
    expected = environ.get("SLURM_STEP_NUM_NODES") if "SLURM_STEP_NODELIST" in environ else environ.get("SLURM_NNODES")
    if expected is not None and expected != str(len(nodes)):
        raise Ended("launch_failed", f"Slurm says that there are {expected} nodes, its list has {','.join(nodes)}")
    if rank >= len(nodes):
        raise Ended("launch_failed", f"SLURM_NODEID={rank}, but there are {len(nodes)} nodes: {','.join(nodes)}")
    name = environ.get("SLURMD_NODENAME", nodes[rank])
    if name != nodes[rank]:
        raise Ended("launch_failed", f"this node is {name}, but entry {rank} of {','.join(nodes)} is {nodes[rank]}")
    if environ.get("SLURM_LOCALID", "0") != "0":
        raise Ended("launch_failed", f"two agents on {name}: start one task a node (srun --ntasks-per-node=1)")
    return Job(
        tuple(nodes), rank, _job_id(environ), _number(environ, "SLURM_RESTART_COUNT", 0), _deadline(cluster, environ)
    )


def _node_list(environ: Mapping[str, str]) -> list[str]:
    for name in ("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST"):
        if environ.get(name):
            try:
                return expand(environ[name])
            except HostlistError as error:
                raise Ended("launch_failed", f"{name}: {error}") from None
    raise Ended(
        "launch_failed",
        "neither SLURM_STEP_NODELIST nor SLURM_JOB_NODELIST is set: this is no Slurm job. Submit the run "
        "(python -m launcher), or train on this machine with cluster=local",
    )


def _job_id(environ: Mapping[str, str]) -> str:
    array, task = environ.get("SLURM_ARRAY_JOB_ID"), environ.get("SLURM_ARRAY_TASK_ID")
    if array and task:
        return f"{array}_{task}"
    return str(_number(environ, "SLURM_JOB_ID"))


def _deadline(cluster: ClusterConfig, environ: Mapping[str, str]) -> float | None:
    """Slurm tells it from 23.02 on; before, the limit counted from now, which is a little late."""
    told = environ.get("SLURM_JOB_END_TIME", "")
    if told.isdigit():
        return float(told)
    return time.time() + seconds(cluster.time) if cluster.kind == "slurm" else None


def _number(environ: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environ.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.isdigit():
        raise Ended("launch_failed", f"{name}={text}: a number is needed; this is no task of a Slurm job")
    return int(text)
