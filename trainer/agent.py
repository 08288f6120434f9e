"""The agent: one on each node of a job. It starts the node's workers, sees how they end, and leaves nothing behind.

The head node's agent also keeps the run's records. Exit codes: 0 the run is done or had been done before; 2 wrong
input; 4 the run failed; 128 + the signal's number when it was told to leave.
"""

import os
import sys
from pathlib import Path

from pydantic import ValidationError

from conf.folder import RunFolder
from conf.schema.run import RunConfig
from trainer.attempt import AttemptRecord
from trainer.ends import Ended
from trainer.job import Job, is_first_task, job_of
from trainer.node import Node
from trainer.offline import enter
from trainer.signals import SignalFlags


def main(argv: list[str]) -> int:
    """`python -m trainer agent RUN`, started by the job on each node. Returns the exit code."""
    if len(argv) != 1 or argv[0] in ("-h", "--help"):
        print("usage: python -m trainer agent RUN\n\n" + (__doc__ or ""), file=sys.stderr)
        return 0 if argv and argv[0] in ("-h", "--help") else 2
    folder = RunFolder(argv[0])
    number = os.environ.get("SLURMWRIGHT_ATTEMPT", "")
    if not folder.config_file.is_file():
        print(f"agent: {folder.path} is no run folder: it has no config.yaml", file=sys.stderr)
        return 2
    if not number.isdigit():
        print(
            f"agent: SLURMWRIGHT_ATTEMPT={number} is no number. Jobs start agents; to start this run again type "
            f"`python -m launcher resume {folder.id}`",
            file=sys.stderr,
        )
        return 2
    if folder.result().get("status") == "completed":
        print(f"agent: run {folder.id} is finished", file=sys.stderr)
        return 0
    flags = SignalFlags()
    flags.install()
    folder.attempt_folder(int(number)).mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        config, job = _facts(folder)
    except Ended as ended:
        print(f"agent: {ended.message}", file=sys.stderr)
        if is_first_task(os.environ):
            AttemptRecord(folder, int(number)).fail(ended.cause, ended.message)
        return 4
    _write_to(folder.attempt_folder(int(number)) / f"{job.node}.log")
    enter(config, folder, job.nodes, job.node, int(number))
    return Node(folder, config, job, int(number), flags).run()


def _facts(folder: RunFolder) -> tuple[RunConfig, Job]:
    if not _code_is_frozen(folder):
        raise Ended(
            "launch_failed",
            f"this is the package in {Path(__file__).resolve().parent}, not the run's own copy in {folder.code}: start "
            f"it from there (cd {folder.code}), with that folder alone in PYTHONPATH",
        )
    try:
        config = folder.config()
    except (ValidationError, ValueError) as error:
        raise Ended("launch_failed", f"{folder.config_file} was changed and cannot be read: {error}") from None
    return config, job_of(config.cluster, os.environ)


def _write_to(log: Path) -> None:
    """From now on this process and its workers write to the node's log. Appending keeps their lines apart."""
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)


def _code_is_frozen(folder: RunFolder) -> bool:
    return Path(__file__).resolve().is_relative_to(folder.code.resolve())
