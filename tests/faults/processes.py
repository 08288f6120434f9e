"""The processes of a run on the private cluster's nodes, found from the real machine; holding them and killing them."""

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from conf.folder import RunFolder
from tests.slurm.cluster import Cluster, procfs


@dataclass(frozen=True)
class Process:
    """One agent or worker of a run."""

    pid: int
    """As the real machine numbers it."""
    kind: str
    """agent, worker or prepare."""
    node: str
    """Node that it runs on."""
    rank: int
    """Rank of a worker, 0 for others."""
    attempt: int


def processes(folder: RunFolder) -> list[Process]:
    """All processes of a run's trainer, workers in order of rank."""
    found = []
    for pid in procfs.pids():
        line = procfs.arguments(pid)
        # srun has the same words in its command line, after its own.
        if line[1:3] != ["-m", "trainer"] or str(folder.path) not in line[4:5]:
            continue
        variables = dict(entry.partition("=")[::2] for entry in procfs.environment(pid))
        node, rank = variables.get("SLURMD_NODENAME", ""), int(variables.get("RANK", 0))
        found.append(Process(pid, line[3], node, rank, int(variables.get("SLURMWRIGHT_ATTEMPT", 0))))
    return sorted(found, key=lambda process: (process.attempt, process.kind, process.rank, process.node))


def workers(folder: RunFolder, attempt: int) -> list[Process]:
    """The workers of an attempt, in order of rank."""
    return [found for found in processes(folder) if found.kind == "worker" and found.attempt == attempt]


def send(victims: Iterable[Process], number: signal.Signals) -> None:
    """A signal to processes; who is gone already is left in peace."""
    for victim in victims:
        try:
            os.kill(victim.pid, number)
        except ProcessLookupError:
            continue


@contextmanager
def held(victims: Iterable[Process]) -> Iterator[None]:
    """Hold processes where they are: to others they look slow. They go on at the end, if they are still there."""
    stopped = list(victims)
    send(stopped, signal.SIGSTOP)
    try:
        yield
    finally:
        send(stopped, signal.SIGCONT)


def running_on(cluster: Cluster, node: str, folder: RunFolder) -> list[int]:
    """Processes of a run on a node that is on, whatever Slurm believes."""
    here = set(cluster.processes(node))
    return [found.pid for found in processes(folder) if found.pid in here]
