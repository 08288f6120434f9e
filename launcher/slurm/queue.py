"""What Slurm knows of jobs: one squeue call for all of them, sacct for those that squeue has forgotten."""

import os
import re
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from conf.folder import RunFolder
from launcher.errors import SiteError
from launcher.slurm.command import available, call

TIMEOUT = 20.0
"""Seconds for one query."""
ENDED = frozenset(
    {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED",
     "TIMEOUT"}
)  # fmt: skip
"""States in which a job holds nothing and waits for nothing."""
_WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"})
_PLAIN = {"SLURM_TIME_FORMAT": "standard", "SLURM_BITSTR_LEN": "0"}
"""Times and array ranges in full, whatever a person has set for reading."""
LAUNCH_FAILED = "launch failed requeued held"
"""Reason of a job that Slurm has put back and holds since a node could not start it; a person has to release it."""
_SEPARATOR = "\x1f"
_NOTHING = ("", "N/A", "(null)", "Unknown", "None", "None assigned")
MOST_TASKS = 1 << 22
"""Indexes that one array can have at most in any Slurm; a longer range is no array."""


@dataclass(frozen=True)
class Job:
    """One job as Slurm sees it."""

    id: str
    """`123`, or `123_4` for a task of an array."""
    state: str
    """Slurm's state, one word: PENDING, RUNNING, CANCELLED, ..."""
    reason: str | None = None
    """Why it waits, or why it ended, in Slurm's word."""
    start: str | None = None
    """Start, or expected start while it waits, in the site's local time."""
    nodes: str | None = None
    """Node list in Slurm's notation."""
    work_dir: str | None = None
    name: str | None = None

    @property
    def waiting(self) -> bool:
        """Whether it has yet to start."""
        return self.state in _WAITING

    @property
    def ended(self) -> bool:
        """Whether it is over for good."""
        return self.state in ENDED


@dataclass(frozen=True)
class Queue:
    """An answer of Slurm, or that there was none."""

    answered: bool
    jobs: dict[str, Job] = field(default_factory=dict)
    complaint: str | None = None
    """Why there was no answer."""


def look(ids: Iterable[str]) -> Queue:
    """What Slurm knows of jobs of this user. Never raises for a Slurm that is missing or does not answer."""
    wanted = set(ids)
    if not wanted:
        return Queue(True)
    try:
        jobs = {job.id: job for job in _squeue("--states=all") if job.id in wanted}
    except SiteError as error:
        return Queue(False, complaint=error.message)
    missing = wanted - jobs.keys()
    if missing and available("sacct"):
        try:
            jobs |= {job.id: job for job in _sacct(missing) if job.id in missing}
        except SiteError:
            pass  # without accounting the run folder is the only record of a job that squeue has forgotten
    return Queue(True, jobs)


def find(folder: RunFolder, known: Collection[str | None]) -> str | None:
    """Id of a queued or running job of a run that is not among the known ones; None where there is none.

    Raises SiteError where Slurm does not answer."""
    for job in _squeue():
        if job.name == folder.id and job.work_dir == str(folder.code) and job.id not in known and not job.ended:
            return job.id
    return None


def find_array(name: str, work_dir: str) -> str | None:
    """Id of an array of a name that nothing else has, as `123`, also where it has ended a while ago; None where there
    is none. Raises SiteError where Slurm does not answer."""
    for job in _squeue("--states=all"):
        if job.name == name and job.work_dir == work_dir:
            return job.id.partition("_")[0]
    return None


def active() -> list[str]:
    """Ids of the jobs that this user has queued and running, each task of an array one. Raises SiteError where Slurm
    does not answer."""
    return [job.id for job in active_jobs()]


def active_jobs() -> list[Job]:
    """The same with all that Slurm says of them."""
    return [job for job in _squeue() if not job.ended]


def find_steps(job_id: str, name: str) -> list[str]:
    """Ids of the running steps of a name in a job, as `123.4`. Raises SiteError where Slurm does not answer."""
    command = ["squeue", "--steps", f"--job={job_id}", "--noheader", f"--format=%i{_SEPARATOR}%j"]
    lines = [line.split(_SEPARATOR) for line in call(command, TIMEOUT).splitlines()]
    return [parts[0].strip() for parts in lines if len(parts) == 2 and parts[1].strip() == name]


def release(job_id: str) -> None:
    """Let a held job be started. Raises SiteError where Slurm refuses or does not answer."""
    call(["scontrol", "release", job_id], TIMEOUT)


def wait_until_gone(job_id: str, seconds: float) -> bool:
    """Wait until a job is over, its processes included; False where it is not after so many seconds.

    Raises SiteError where Slurm does not answer."""
    deadline, pause = time.monotonic() + seconds, 0.5
    while any(job.id == job_id and not job.ended for job in _squeue("--states=all")):
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 1.5, 10.0)
    return True


def _squeue(*more: str) -> list[Job]:
    layout = _SEPARATOR.join(("%i", "%T", "%r", "%S", "%N", "%Z", "%j"))
    command = ["squeue", "--me", "--noheader", f"--format={layout}", *more]
    return parse_squeue(call(command, TIMEOUT, os.environ | _PLAIN))


def _sacct(ids: Iterable[str]) -> list[Job]:
    layout = "--format=JobID,State,Start,NodeList,Reason"
    command = ["sacct", "--noheader", "--parsable2", "--duplicates", "--allocations", layout]
    return parse_sacct(call([*command, "--jobs=" + ",".join(sorted(ids))], TIMEOUT, os.environ | _PLAIN))


def parse_squeue(text: str) -> list[Job]:
    """Jobs from squeue's output in our format; lines of any other form are left out."""
    jobs = []
    for line in text.splitlines():
        parts = line.split(_SEPARATOR)
        if len(parts) == 7:
            written, state, reason, start, nodes, work_dir, name = parts
            jobs += [
                Job(each, read_state(state), _word(reason), _word(start), _word(nodes), _word(work_dir), _word(name))
                for each in read_ids(written)
            ]
    return jobs


def parse_sacct(text: str) -> list[Job]:
    """Jobs from sacct's output, the latest start of each last; steps and lines of any other form are left out."""
    jobs = []
    for line in text.splitlines():
        parts = line.split("|")
        if len(parts) == 5:
            written, state, start, nodes, reason = parts
            jobs += [
                Job(each, read_state(state), _word(reason), _word(start), _word(nodes)) for each in read_ids(written)
            ]
    return jobs


def read_state(text: str) -> str:
    """The one word of a state: `CANCELLED by 0` and `CANCELLED+` are CANCELLED."""
    words = text.split()
    return words[0].rstrip("+").upper() if words else "UNKNOWN"


def read_ids(text: str) -> list[str]:
    """The jobs that an id of Slurm's names: `123_[5-7%2]` names three, `123+0` is 123, a step (`123.batch`) none."""
    found = re.fullmatch(r"(\d+)(?:\+\d+)?(?:_(\d+)|_\[([\d,:.-]*)(?:%\d+)?\])?", text.strip())
    if found is None:
        return []
    job, task, tasks = found.groups()
    if task is not None:
        return [f"{job}_{task}"]
    if tasks is None:
        return [job]
    return [f"{job}_{index}" for part in tasks.split(",") for index in _range(part)]


def _range(text: str) -> Iterable[int]:
    found = re.fullmatch(r"(\d+)(?:-(\d+))?(?::(\d+))?", text)
    if found is None:
        return ()
    first, last, step = int(found[1]), int(found[2] or found[1]), int(found[3] or 1)
    return range(first, last + 1, max(step, 1)) if last < MOST_TASKS else ()


def _word(text: str) -> str | None:
    return None if text.strip() in _NOTHING else text.strip()
