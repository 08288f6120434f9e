"""The faults themselves, each as it happens at a real site."""

import signal
import time

from conf.folder import RunFolder
from launcher.state import last_job
from tests.faults.processes import Process, send
from tests.slurm.cluster import Cluster

LIMIT = 38
"""Seconds from a changed time limit to its end. Slurm looks each 30 s, and gives its notice up to so much early."""


def job_of(folder: RunFolder) -> str:
    """The id of the run's job."""
    job = last_job(folder)
    assert job is not None, f"{folder.id} was never submitted"
    return job


def preempt(cluster: Cluster, node: str, seconds: float = 1) -> str:
    """A job of the high partition takes a node; its id. The one that runs there gets its notice within seconds."""
    return cluster.run(
        [
            "sbatch", "--parsable", "--partition=high", "--nodes=1", f"--nodelist={node}", "--exclusive", "--time=1",
            "--output=/dev/null", f"--wrap=sleep {seconds:g}",
        ],
    ).stdout.strip()  # fmt: skip


def end_soon(cluster: Cluster, folder: RunFolder) -> None:
    """The job's time limit comes near, as for a job that has run for long. Slurm's notice follows within 30 s."""
    end = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + LIMIT))
    cluster.run(["scontrol", "update", f"JobId={job_of(folder)}", f"EndTime={end}"])


def kill(victim: Process) -> None:
    """SIGKILL to one process, as the kernel does when memory is short."""
    send([victim], signal.SIGKILL)
