"""What a run is doing: its folder's word and Slurm's, put together."""

from dataclasses import dataclass, replace
from typing import Any

from conf.folder import RunFolder, read_json
from launcher import process
from launcher.slurm.queue import Job, Queue

ACTIVE = ("queued", "running")
"""States in which something is still to come by itself."""
_ENDS = {
    "TIMEOUT": "time_limit",
    "DEADLINE": "time_limit",
    "OUT_OF_MEMORY": "out_of_memory",
    "NODE_FAIL": "node_failure",
    "BOOT_FAIL": "node_failure",
    "PREEMPTED": "preempted",
    "CANCELLED": "cancelled",
    "REVOKED": "cancelled",
}
"""Causes that Slurm's own words for an end say."""


@dataclass(frozen=True)
class State:
    """Where a run stands."""

    status: str
    """completed, failed, cancelled, stopped, pruned; queued, running; interrupted (it can go on, nothing will by
    itself), lost (gone without a word), new (never started)."""
    cause: str | None = None
    """Cause of the last end, as conf.folder.Cause."""
    message: str = ""
    """Words for people: what happened, what to type."""
    job_id: str | None = None
    job: Job | None = None
    """What Slurm says; None where it says nothing."""
    nodes: tuple[str, ...] = ()
    """Nodes of the newest attempt."""

    def at(self, status: str, cause: str | None = None, message: str = "") -> "State":
        """The same run with this said of it."""
        return replace(self, status=status, cause=cause, message=message)


def job_ids(folders: list[RunFolder], finished: bool = False) -> set[str]:
    """Ids of the last jobs of those runs that have not said how they ended, for one question to Slurm; with `finished`
    of all."""
    ids = {last_job(folder) for folder in folders if finished or not folder.result()}
    return {job_id for job_id in ids if job_id is not None}


def last_start(folder: RunFolder) -> dict[str, Any] | None:
    """The last `submitted` event: of a job (`job_id`), or of a process of a machine (`pid`, `host`), or both."""
    starts = [event for event in folder.events() if event.get("event") == "submitted"]
    return starts[-1] if starts else None


def last_job(folder: RunFolder) -> str | None:
    """Id of the Slurm job of a run's last start; None for a local one, or where there was none."""
    start = last_start(folder)
    found = None if start is None else start.get("job_id")
    return None if found is None else str(found)


def newest_attempt(folder: RunFolder, first: int = 1) -> dict[str, Any]:
    """attempt.json of the newest attempt that has one, from number `first` on; {} where there is none."""
    for number in reversed(folder.attempt_numbers()):
        record = read_json(folder.attempt_folder(number) / "attempt.json") if number >= first else {}
        if record:
            return record
    return {}


def state_of(folder: RunFolder, queue: Queue) -> State:
    """Where a run stands. `queue` holds what Slurm said of its last job."""
    start, result = last_start(folder), folder.result()
    job_id = last_job(folder)
    job = queue.jobs.get(job_id) if job_id else None
    attempt = newest_attempt(folder, int(start["attempt"]) if start else 1)
    nodes = tuple((attempt or newest_attempt(folder)).get("nodes", ()))
    known = State("new", job_id=job_id, job=job, nodes=nodes)
    if result and not (job is not None and job.waiting):
        return known.at(result["status"], result.get("cause"), result.get("message") or "")
    if start is None:
        return known.at("new", message=f"never started; type `python -m launcher resume {folder.id}`")
    if "pid" in start:
        return _of_process(folder, start, attempt, known)
    if job is not None and not job.ended:
        return known.at("queued" if job.waiting else "running", attempt.get("cause"), attempt.get("message") or "")
    if job is None and not queue.answered:
        return _without_slurm(attempt, known)
    return _of_ended_job(folder, job, attempt, known)


def _of_process(folder: RunFolder, start: dict[str, Any], attempt: dict[str, Any], known: State) -> State:
    if not attempt.get("ended"):
        living = process.alive(int(start["pid"]), str(start["host"]), folder)
        if living:
            return known.at("running")
        if living is None:
            return known.at("running", message=f"started on {start['host']}; whether it lives is seen only there")
    return _over(folder, attempt, "its process", known)


def _of_ended_job(folder: RunFolder, job: Job | None, attempt: dict[str, Any], known: State) -> State:
    name = f"job {known.job_id}"
    if job is None or job.state == "COMPLETED" or attempt.get("ended"):
        return _over(folder, attempt, name, known)
    cause = _ENDS.get(job.state, "unknown" if attempt else "launch_failed")
    if cause == "cancelled":
        return known.at("cancelled", cause, f"{name} was cancelled outside of the launcher{_again(folder)}")
    where = f"; see `python -m launcher logs {folder.id}`"
    reason = f" ({job.reason})" if job.reason else ""
    return known.at("failed", cause, f"{name} ended in state {job.state}{reason}{where}{_again(folder)}")


def _over(folder: RunFolder, attempt: dict[str, Any], name: str, known: State) -> State:
    if attempt.get("ended"):
        words = attempt.get("message") or f"attempt {attempt.get('attempt')} ended"
        return known.at("interrupted", attempt.get("cause"), words + _again(folder))
    return known.at("lost", "unknown", f"{name} is gone without a word{_again(folder)}")


def _without_slurm(attempt: dict[str, Any], known: State) -> State:
    words = "as the run folder says; Slurm cannot be asked"
    status = "queued" if not attempt else "interrupted" if attempt.get("ended") else "running"
    return known.at(status, attempt.get("cause"), words)


def _again(folder: RunFolder) -> str:
    return f"; to go on type `python -m launcher resume {folder.id}`"
