"""Who has begun a job of a search, and whether it may come back: Slurm's word, this machine's, or long silence."""

import os
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conf.folder import now, write_json
from launcher.slurm import queue
from sweeps.folder import SweepFolder

SILENCE = 900.0
"""Seconds without a sign of life after which a worker that nobody else knows anything of counts as lost."""
BEAT = 15.0
"""Seconds between two signs."""
_LEASE = "lease.json"


@dataclass(frozen=True)
class Owner:
    """A worker, as jobs name it. The same one after a requeue of its job."""

    worker: int
    """Number of its folder in the sweep's workers/."""
    job_id: str | None
    """Slurm's id, `<array>_<task>`; None outside of Slurm."""
    host: str
    pid: int
    birth: str
    """When the process started, in the kernel's words: pids are used again."""

    def dump(self) -> dict[str, Any]:
        """As the study holds it."""
        return {"worker": self.worker, "job_id": self.job_id, "host": self.host, "pid": self.pid, "birth": self.birth}

    def is_mine(self, owner: Mapping[str, Any]) -> bool:
        """Whether a job's owner is this worker, or what it was before a requeue."""
        if self.job_id is not None:
            return bool(owner.get("job_id") == self.job_id)
        return dict(owner) == self.dump()


def this_worker(sweep: SweepFolder) -> Owner:
    """The worker that this process is: of a task of an array by the task's number, else by the first free one."""
    job = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    pid = os.getpid()
    if all(job):
        sweep.worker(int(job[1] or 0)).mkdir(parents=True, exist_ok=True, mode=0o700)
        return Owner(int(job[1] or 0), f"{job[0]}_{job[1]}", socket.gethostname(), pid, _birth(pid))
    number = 1
    sweep.workers.mkdir(exist_ok=True, mode=0o700)
    while not _take(sweep.worker(number)):
        number += 1
    return Owner(number, os.environ.get("SLURM_JOB_ID"), socket.gethostname(), pid, _birth(pid))


class Lease:
    """workers/NN/lease.json: what a worker is about, for people; its age says that the worker lives."""

    def __init__(self, sweep: SweepFolder, owner: Owner) -> None:
        self._file = sweep.worker(owner.worker) / _LEASE
        self._owner = owner
        self._last = 0.0

    def write(self, **about: Any) -> None:
        """Say what the worker is about: trial and run_id; nothing of them between two trials."""
        write_json(self._file, self._owner.dump() | {"t": now()} | about)
        self._last = time.monotonic()

    def beat(self) -> None:
        """A sign of life, where the last one is some time ago."""
        if time.monotonic() - self._last >= BEAT:
            self._last = time.monotonic()
            try:
                os.utime(self._file)
            except OSError:
                pass  # a full disk or a slow one does not end a trial


def lost(sweep: SweepFolder, owners: Iterable[Mapping[str, Any]]) -> list[bool]:
    """Of each owner whether it is gone and will not come back. One question to Slurm for all.

    A job that waits after a requeue comes back. Where Slurm does not answer only SILENCE counts."""
    asked = list(owners)
    answer = queue.look(owner["job_id"] for owner in asked if owner.get("job_id"))
    return [_lost(sweep, owner, answer) for owner in asked]


def _lost(sweep: SweepFolder, owner: Mapping[str, Any], answer: queue.Queue) -> bool:
    here = owner["host"] == socket.gethostname() and _birth(int(owner["pid"])) == owner["birth"]
    if here:
        return False
    if owner.get("job_id"):
        if answer.answered:
            job = answer.jobs.get(str(owner["job_id"]))
            return job is None or job.ended
    elif owner["host"] == socket.gethostname():
        return True
    return _silent(sweep.worker(int(owner["worker"])) / _LEASE)


def _silent(lease: Path) -> bool:
    try:
        return time.time() - lease.stat().st_mtime > SILENCE
    except OSError:
        return True


def _take(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return False
    return True


def _birth(pid: int) -> str:
    """Start of a process in clock ticks since the machine's; "" where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if stat[0] in "ZX" else f"{stat[19]}-{_boot()}"


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
