"""Asking Slurm for another attempt of this job: the same job again, or where that is forbidden a job after it."""

import math
import os
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from conf.folder import RunFolder, write_whole
from trainer.controller import ask, insist, output
from trainer.job import Job

ASK = "again"
"""File in an attempt's folder by which the batch script is asked for another attempt; its word is how: see GoesOn."""
_GONE = ("CANCELLED", "COMPLETED", "FAILED", "TIMEOUT", "DEADLINE")
"""States in which somebody, or the end, was quicker: a requeue would undo what a person wants."""
_WAITS = ("PENDING", "REQUEUED", "SPECIAL_EXIT")
"""States of a job that waits to be started again."""
FORBIDDEN = "the site forbids requeues"
_UP = ("idle", "alloc", "mix", "comp", "resv", "plnd")
"""Compact states of sinfo in which a node takes jobs sooner or later; an asterisk says that it does not answer."""


def again(folder: RunFolder, attempt: int, job: Job, cause: str, exclude: Sequence[str]) -> str | None:
    """Have the job started once more, and write the event. Gives why that cannot be, in words, or None where it will.

    The run's plan says which way the site allows; where the plan does not know, a requeue is tried first. A controller
    that is away is waited for. `scontrol requeue` kills the job at once: everything must be saved and written down
    before."""
    assert job.job_id is not None, "only a job of Slurm goes on by itself"
    facts = _facts(job.job_id)
    state = facts.get("JobState", "")
    if state in _GONE:
        return f"the job is {state.lower()} already"
    folder.append_event("requeued", attempt, cause=cause, excluded=list(exclude))
    way = folder.goes_on
    if not shutil.which("scontrol") and not shutil.which("sbatch"):
        # As in a container. The batch script is outside of it, and looks for this.
        write_whole(folder.attempt_folder(attempt) / ASK, f"{way}\n")
        return None
    exclude = _bearable(exclude, facts)
    for node in exclude:
        folder.append_event("node_excluded", attempt, node=node)
    why = FORBIDDEN if way == "singleton chain" else _requeue(job, exclude)
    if why is None:
        return None
    return _chain(folder, job.job_id, facts.get("JobName", folder.id), exclude, why)


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
    words = output("scontrol", "show", "job", "--oneliner", job_id).split()
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _bearable(exclude: Sequence[str], facts: Mapping[str, str]) -> list[str]:
    """Those of the nodes, first ones first, without which the job still finds enough others in its partition that are
    up: on a small site every node has failed once in a long run's life, and the job would wait for ever."""
    partition, needed = facts.get("Partition", ""), facts.get("NumNodes", "")
    if not exclude or not partition or not needed.isdigit():
        return list(exclude)
    lines = output("sinfo", "--noheader", "--Node", "--format=%N %t", f"--partition={partition}").splitlines()
    states = {name: state for name, _, state in (line.strip().partition(" ") for line in lines)}
    left = {name for name, state in states.items() if state in _UP}
    chosen = []
    for node in exclude:
        if node in states and (node not in left or len(left) > int(needed)):
            left.discard(node)
            chosen.append(node)
    return chosen if states else list(exclude)


def _requeue(job: Job, exclude: Sequence[str]) -> str | None:
    """The same job again, once; why that cannot be, or None."""
    if not shutil.which("scontrol"):
        return "scontrol is not on the PATH of this node"
    job_id = str(job.job_id)

    def restarts_already() -> str:
        facts = _facts(job_id)
        count = facts.get("Restarts", "")
        more = count.isdigit() and int(count) > job.restart_count
        return "requeued" if more or facts.get("JobState") in _WAITS else ""

    if restarts_already():
        return None  # to ask once more would kill the new start
    if exclude:
        ask("scontrol", "update", f"JobId={job_id}", f"ExcNodeList={','.join(exclude)}")
    answer = insist(("scontrol", "requeue", job_id), restarts_already)
    # Slurm may have been quicker, where the grace was over before all had left.
    return None if answer.done or "pending" in answer.said.lower() or restarts_already() else answer.said


def _chain(folder: RunFolder, job_id: str, name: str, exclude: Sequence[str], why: str) -> str | None:
    """A new job of the same script and name, which waits until this one is gone."""
    python, store = os.environ.get("SLURMWRIGHT_PYTHON"), os.environ.get("SLURMWRIGHT_STORE")
    if not shutil.which("sbatch") or python is None or store is None:
        return f"{why}; sbatch cannot be called here either"
    array, _, task = job_id.partition("_")

    def queued_already() -> str:
        waiting = output("squeue", "--me", "--noheader", "--states=pending", f"--name={name}", "--format=%i")
        parts = [found.partition("_") for found in waiting.split()]
        return next((other for other, _, index in parts if other != array and index.strip("[]") == task), "")

    flags = ["--parsable"]
    if exclude:
        flags.append(f"--exclude={','.join(exclude)}")
    if task:
        flags += [f"--array={task}", f"--dependency=afterany:{job_id}", *_of_array(folder, python, store)]
    else:
        logs = _pattern(folder.attempts) + "/slurm-%j.log"
        flags += ["--dependency=singleton", f"--chdir={folder.code}", f"--output={logs}"]
        flags += [str(folder.script), str(folder.path), python, store]
    answer = insist(("sbatch", *flags), queued_already)
    chained = answer.said.strip().partition(";")[0]
    if not answer.done or not chained.isdigit():
        return f"{why}; sbatch refuses a job after this one, too: {answer.said.strip()}"
    number = max(folder.attempt_numbers(), default=0) + 1
    chained += f"_{task}" if task else ""
    folder.append_event("submitted", number, job_id=chained, why=why)
    return None


def _of_array(folder: RunFolder, python: str, store: str) -> list[str]:
    """How a trial's array was submitted: it finds its run by its number in the list beside the script."""
    # Not resolved: by the folder as it is called, the job is known to belong to the sweep.
    script = Path(os.path.normpath(folder.path / os.readlink(folder.script)))
    sweep, chunk = script.parents[1], script.with_suffix("")
    logs = _pattern(chunk) + "/%a/slurm-%A_%a.log"
    listed = script.with_suffix(".txt")
    return [f"--chdir={sweep}", f"--output={logs}", str(script), str(sweep), str(listed), python, store]


def _pattern(path: Path) -> str:
    """A path as sbatch reads it where it expects a pattern."""
    return str(path).replace("%", "%%")
