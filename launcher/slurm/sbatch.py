"""Handing a script to sbatch exactly once, also where sbatch cannot say whether it was heard."""

import re
import time
from collections.abc import Callable, Mapping, Sequence

from conf.folder import RunFolder
from launcher.errors import SiteError
from launcher.slurm import queue
from launcher.slurm.command import NoAnswer, call

TIMEOUT = 60.0
"""Seconds for one call of sbatch."""
ATTEMPTS = 3
"""Calls of sbatch where Slurm does not answer."""
PAUSE = 3.0
"""Seconds between a call that was not answered and the look for its job."""


def read_job_id(output: str) -> str:
    """The job id from the output of `sbatch --parsable`: `123`, `123;cluster`, perhaps after lines of the site's own.

    Raises SiteError where there is none."""
    for line in reversed(output.splitlines()):
        found = re.fullmatch(r"(?:Submitted batch job )?(\d+)(?:;.*)?", line.strip())
        if found:
            return found.group(1)
    raise SiteError(f"sbatch gave no job id but {output.strip()!r}: look for the job with `squeue --me`")


def submit_once(command: Sequence[str], folder: RunFolder, env: Mapping[str, str] | None = None) -> str:
    """Output of sbatch, or its like made up from the queue where the answer was lost but the job is there.

    Raises SiteError where Slurm refuses, or where it stays unknown whether the job was taken."""
    known = {event.get("job_id") for event in folder.events()}
    return submit_named(command, folder.id, lambda: queue.find(folder, known), env)


def submit_named(
    command: Sequence[str], name: str, find: Callable[[], str | None], env: Mapping[str, str] | None = None
) -> str:
    """The same for any job; `find` looks for it under its name in the queue."""
    for attempt in range(ATTEMPTS):
        try:
            return call(command, TIMEOUT, env)
        except NoAnswer as error:
            time.sleep(PAUSE)
            try:
                found = find()
            except SiteError as silent:
                raise SiteError(
                    f"{error.message}. It may have taken the job all the same ({silent.message}). When Slurm answers, "
                    f"look for {name} with `squeue --me` before you submit again"
                ) from None
            if found is not None:
                return found
            if attempt == ATTEMPTS - 1:
                raise SiteError(f"{error.message}, {ATTEMPTS} times, and no job {name} is queued") from None
    raise AssertionError("unreachable")
