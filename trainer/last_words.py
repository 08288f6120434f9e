"""What stands in a job's log about an attempt whose agents could not say how it ended."""

import errno
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conf.folder import Cause, RunFolder

MOST = 256 * 1024
"""Bytes of the log that are looked through, from its end."""
_SAYS: tuple[tuple[Cause, re.Pattern[str]], ...] = (
    ("out_of_memory", re.compile(r"oom[-_ ]?kill|out[- ]of[- ]memory|exceeded (?:\w+ )?memory limit", re.IGNORECASE)),
    ("preempted", re.compile(r"DUE TO PREEMPTION")),
    ("time_limit", re.compile(r"DUE TO TIME LIMIT")),
    ("node_failure", re.compile(r"DUE TO NODE FAILURE")),
)
"""Words of slurmstepd and srun, the most telling first: a step that is killed for memory is also cancelled."""
_NO_SPACE = re.compile(rf"\[Errno ({errno.ENOSPC}|{errno.EDQUOT})\] [^\n]*")
"""Python's words for a full disk: agents that cannot write a record any more leave with them."""
_OURS = re.compile(r"^(?:\d+: )?(?:slurmstepd|srun)[^ ]*: (?:error: )?(.*)$", re.MULTILINE)


def job_log(folder: RunFolder, job_id: str | None) -> Path:
    """The log of a job's batch script. Every attempt of the job appends to it."""
    return folder.attempts / f"slurm-{job_id}.log"


def log_size(folder: RunFolder, job_id: str | None) -> int:
    """Bytes that the job's log has now; 0 where there is none."""
    try:
        return job_log(folder, job_id).stat().st_size
    except OSError:
        return 0


def said_in_log(folder: RunFolder, attempt: Mapping[str, Any]) -> tuple[Cause, str] | None:
    """Cause and words of the end of an attempt, as its job's log has them; None where that says nothing of it.

    `attempt` is attempt.json, whose `log_from` is where the log began to be this attempt's."""
    try:
        with job_log(folder, attempt.get("job_id")).open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(int(attempt.get("log_from") or 0), end - MOST))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return None
    lines = _OURS.findall(text)
    for cause, pattern in _SAYS:
        for line in lines:
            if pattern.search(line):
                return cause, f"Slurm says: {line.strip().strip('* ')}"
    if full := _NO_SPACE.search(text):
        return "disk_full", f"The job's log says: {full[0]}"
    return None
