"""Asking Slurm for another attempt of this job: the same job again, or where that is forbidden a job after it."""

import math
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime

from conf.folder import RunFolder

TIMEOUT = 20.0
"""Seconds for one call."""
ASK = "again"
"""File in an attempt's folder by which the batch script is asked to requeue the job."""
_GONE = ("CANCELLED", "COMPLETED", "FAILED", "TIMEOUT", "DEADLINE")
"""States in which somebody, or the end, was quicker: a requeue would undo what a person wants."""


def again(folder: RunFolder, attempt: int, job_id: str, cause: str, exclude: Sequence[str]) -> str | None:
    """Have the job started once more, and write the event. Gives why that cannot be, in words, or None where it will.

    `scontrol requeue` kills the job at once: everything must be saved and written down before."""
    facts = _facts(job_id)
    state = facts.get("JobState", "")
    if state in _GONE:
        return f"the job is {state.lower()} already"
    folder.append_event("requeued", attempt, cause=cause, excluded=list(exclude))
    if not shutil.which("scontrol") and not shutil.which("sbatch"):
        # As in a container. The batch script is outside of it, and looks for this.
        (folder.attempt_folder(attempt) / ASK).touch()
        return None
    if shutil.which("scontrol"):
        exclude = _bearable(exclude, facts)
        if exclude:
            _call("scontrol", "update", f"JobId={job_id}", f"ExcNodeList={','.join(exclude)}")
        complaint = _call("scontrol", "requeue", job_id)
        if complaint is None:
            return None
    else:
        complaint = "scontrol is not on the PATH of this node"
    return _chain(folder, exclude, complaint)


def deadline(job_id: str) -> float | None:
    """When the time limit ends the job, in seconds since the epoch, as Slurm has it now: an administrator may have
    changed it since the start. None where Slurm cannot be asked; infinity for a job that is being preempted, whose
    EndTime Slurm has moved to the end of its grace."""
    facts = _facts(job_id)
    try:
        if _time(facts["PreemptTime"]) >= _time(facts["StartTime"]):
            return math.inf
    except (KeyError, ValueError):
        pass  # PreemptTime=None
    try:
        return _time(facts["EndTime"])
    except (KeyError, ValueError):
        return None


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _facts(job_id: str) -> dict[str, str]:
    """What Slurm knows of the job, by its own names; {} where it cannot be asked."""
    if not shutil.which("scontrol"):
        return {}
    words = _output("scontrol", "show", "job", "--oneliner", job_id).split()
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _bearable(exclude: Sequence[str], facts: Mapping[str, str]) -> list[str]:
    """As many of the nodes, first ones first, as leave the job enough others in its partition: on a small site every
    node has failed once in a long run's life, and the job would wait for ever."""
    partition, needed = facts.get("Partition", ""), facts.get("NumNodes", "")
    if not exclude or not partition or not needed.isdigit():
        return list(exclude)
    nodes = set(_output("sinfo", "--noheader", "--Node", "--format=%N", f"--partition={partition}").split())
    spare = len(nodes) - int(needed)
    return [node for node in exclude if node in nodes][: max(spare, 0)] if nodes else list(exclude)


def _chain(folder: RunFolder, exclude: Sequence[str], complaint: str) -> str | None:
    """A new job of the same script and name, which waits until this one is gone."""
    python, store = os.environ.get("SLURMWRIGHT_PYTHON"), os.environ.get("SLURMWRIGHT_STORE")
    if not shutil.which("sbatch") or python is None or store is None:
        return f"{complaint}; sbatch cannot be called here either"
    output = str(folder.attempts).replace("%", "%%") + "/slurm-%j.log"
    flags = ["--parsable", "--dependency=singleton", f"--chdir={folder.code}", f"--output={output}"]
    flags += [f"--exclude={','.join(exclude)}"] if exclude else []
    job_id = _output("sbatch", *flags, str(folder.script), str(folder.path), python, store).strip().partition(";")[0]
    if not job_id.isdigit():
        return f"{complaint}; sbatch refuses a job after this one, too"
    number = max(folder.attempt_numbers(), default=0) + 1
    folder.append_event("submitted", number, job_id=job_id, why=complaint)
    return None


def _call(*command: str) -> str | None:
    """Run a program of Slurm's; its complaint in words, or None."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, env=_environment())
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]}: {error}"
    return None if done.returncode == 0 else f"{command[0]}: {(done.stderr or done.stdout).strip()}"


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, env=_environment())
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _environment() -> dict[str, str]:
    """Without this job's own variables, which sbatch would take for wishes."""
    kept = ("SLURM_CONF", "SLURM_TIME_FORMAT")
    return {
        name: value
        for name, value in (os.environ | {"SLURM_TIME_FORMAT": "standard"}).items()
        if name in kept or not name.startswith(("SLURM_", "SBATCH_", "SRUN_", "MASTER_"))
    }
