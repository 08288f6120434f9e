"""What comes before any start of a run: its folder is made ready, and what a past end left behind is cleared."""

import os
import time
from typing import Any

from conf.folder import RunFolder
from launcher import process
from launcher.errors import InputError, SiteError
from launcher.slurm import queue
from launcher.state import last_job, last_start, newest_attempt

FINISHED = ("completed", "pruned")
"""Ends after which there is nothing left to do."""
LEAVING = 60.0
"""Seconds that an attempt which has its result may take to leave."""


def clear(folder: RunFolder) -> None:
    """Make a run folder ready for another attempt: no result of a past one, no request to stop.

    Raises InputError for a run that is finished, SiteError where the last attempt has its result and does not leave."""
    folder.attempts.mkdir(mode=0o700, exist_ok=True)
    if folder.result().get("status") in FINISHED:
        raise InputError(f"{folder.id} is finished: `python -m launcher status {folder.id}` shows its result")
    _let_leave(folder)
    for leftover in (folder.result_file, folder.stop_file, folder.save_file):
        leftover.unlink(missing_ok=True)


def _let_leave(folder: RunFolder) -> None:
    """Wait for an attempt whose workers have written the result and whose agents are about to: they would take a run
    without it for crashed, and ask Slurm to start it again beside the new job."""
    deadline = time.monotonic() + LEAVING
    while folder.result() and _is_leaving(folder):
        if time.monotonic() > deadline:
            message = f"{folder.id} has its result, but its last attempt has not left in {LEAVING:.0f} s"
            raise SiteError(f"{message}: type the same again later, or `python -m launcher cancel {folder.id}`")
        time.sleep(1.0)  # Slurm is asked each time


def _is_leaving(folder: RunFolder) -> bool:
    """Whether the last attempt lives and has yet to say how it ended."""
    attempt, begun = newest_attempt(folder), last_start(folder)
    if begun is None or not attempt or attempt.get("ended"):
        return False
    if "pid" in begun:
        return process.alive(int(begun["pid"]), str(begun["host"]), folder) is True
    job_id = last_job(folder)
    job = queue.look([job_id]).jobs.get(job_id) if job_id else None
    return job is not None and not job.ended and not job.waiting


def prepared(folder: RunFolder) -> bool:
    """Whether model and data are recorded, and still lie where the record says."""
    assets: dict[str, Any] = folder.manifest().get("assets", {})
    return all(os.path.exists(assets.get(name, {}).get("path") or "") for name in ("model", "data"))


def next_attempt(folder: RunFolder) -> int:
    """Number of the attempt that the next start will be: the first free one."""
    number = 1
    while folder.attempt_folder(number).exists():
        number += 1
    return number


def new_attempt(folder: RunFolder) -> int:
    """Begin an attempt: take the first free number by making its folder."""
    while True:
        number = next_attempt(folder)
        try:
            folder.attempt_folder(number).mkdir(mode=0o700)
            return number
        except FileExistsError:
            pass  # somebody else was faster
