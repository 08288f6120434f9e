"""`python -m trainer aftermath RUN CODE`: what the batch script calls when the step of the agents has failed.

Agents write down how their attempt ended and ask for the next one. One that was killed can do neither; then this does.
"""

import os
import sys

from conf.folder import RunFolder, read_json
from trainer import requeue
from trainer.attempt import AttemptRecord
from trainer.ends import End, describe
from trainer.job import job_of
from trainer.last_words import said_in_log


def main(argv: list[str]) -> int:
    """The command. Returns 0 where there is nothing to do or the end was settled, 2 for bad usage."""
    number = os.environ.get("SLURMWRIGHT_ATTEMPT", "")
    if len(argv) != 2 or not argv[1].isdigit() or not number.isdigit():
        print("usage: python -m trainer aftermath RUN CODE, in a job, with SLURMWRIGHT_ATTEMPT", file=sys.stderr)
        return 2
    folder, attempt, code = RunFolder(argv[0]), int(number), int(argv[1])
    record = read_json(folder.attempt_folder(attempt) / "attempt.json")
    if record.get("ended"):
        return 0
    config = folder.config()
    settled = AttemptRecord(folder, attempt, record)
    node = next(iter(record.get("nodes") or [os.environ.get("SLURMD_NODENAME", "?")]))
    how = describe(code) if record else f"left with exit code {code} before it could begin"
    end = End(node, "worker_killed" if record else "launch_failed", f"the agent on {node} {how}", code)
    if record and (said := said_in_log(folder, record)) is not None:
        end = End(node, said[0], f"{said[1]}; {end.message}", code)
    decision = settled.conclude(end, config, requeues=config.cluster.kind == "slurm")
    if decision is None:
        return 0
    job = job_of(config.cluster.model_copy(update={"nodes": 1}), os.environ)
    complaint = requeue.again(folder, attempt, job, end.cause, decision.exclude)
    if complaint is not None:
        settled.not_again(end, complaint)
    return 0
