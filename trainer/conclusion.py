"""What the end of an attempt means: the cause behind a signal, what is written down, and what comes next."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

from conf.folder import Cause, RunFolder
from conf.schema.run import RunConfig
from trainer import requeue
from trainer.attempt import DONE, INTERRUPTED, AttemptRecord
from trainer.ends import End, tail
from trainer.job import Job

EARLY = 75.0
"""Seconds by which Slurm's notice of the time limit may come too early: it looks once a minute."""
LATE = 30.0
"""Seconds before the time limit from which on a SIGTERM is taken for it."""


def cause_of(number: signal.Signals | None, job: Job, config: RunConfig) -> tuple[Cause, str]:
    """What a signal means, and that in words. None: another node had it. The head asks Slurm for the present limit."""
    name = number.name if number is not None else "a signal on another node"
    asked = requeue.deadline(job.job_id) if job.is_head and job.job_id else None
    deadline = asked or job.deadline
    early = LATE if number == signal.SIGTERM else config.limits.notice + EARLY
    if deadline is not None and time.time() >= deadline - early:
        return "time_limit", f"{name} near the end of the time limit"
    return "preempted", f"{name} from outside: the job was preempted, or ended by hand"


def exit_code(folder: RunFolder, end: End, ending: signal.Signals | None) -> int:
    """The agent's exit code, the same on every node. `ending`: the signal that ended it, if one did."""
    if folder.result().get("status") in DONE or end.cause == "completed":
        return 0
    if end.cause in INTERRUPTED:
        return 128 + (signal.SIGTERM if ending is None else ending)
    return 4


def write_down(
    record: AttemptRecord, end: End, config: RunConfig, job: Job, log: Path, say: Callable[[str], None]
) -> End:
    """On the head: write the end down; where the run goes on by itself, ask Slurm for the next attempt, which ends this
    one. `log` is the node's own. Gives the end as it is written."""
    folder = record.folder
    if end.cause == "completed" and not folder.result():
        words = f"the workers left without a result; the log's last lines:\n{tail(log)}"
        end = End(end.node, "worker_crash", words)
    decision = record.conclude(end, config, requeues=config.cluster.kind == "slurm")
    if decision is None or job.job_id is None:
        return end
    say(f"asks Slurm for another attempt after: {end.cause}")
    complaint = requeue.again(folder, record.number, job, end.cause, decision.exclude)
    if complaint is not None:
        say(f"no other attempt: {complaint}")
        record.not_again(end, complaint)
    return end
