"""The records of one attempt, written by the head node's agent alone: attempt.json, events, result.json on failure."""

import os
import socket
from typing import Any

from pydantic import BaseModel

from conf.folder import Cause, Event, RunFolder, now, write_json
from conf.schema.identity import is_identity
from conf.schema.run import RunConfig
from trainer.ends import End
from trainer.job import Job

INTERRUPTED: dict[Cause, Event] = {"preempted": "preempted", "time_limit": "timed_out", "cancelled": "cancelled"}
"""Causes after which the run is not finished by our own word, with their events."""
DONE: tuple[Cause, ...] = ("completed", "stopped", "pruned")
"""Ends that the workers themselves bring about, with a result."""


class AttemptRecord:
    """attempts/<n>/attempt.json and what goes with it."""

    def __init__(self, folder: RunFolder, number: int) -> None:
        self.folder = folder
        self.number = number
        self.file = folder.attempt_folder(number) / "attempt.json"
        self._values: dict[str, Any] = {
            "attempt": number,
            "job_id": os.environ.get("SLURM_JOB_ID"),
            "restart_count": 0,
            "nodes": [],
            "started": now(),
            "ended": None,
            "cause": None,
            "message": None,
            "operational": {},
            "pid": os.getpid(),
            "host": socket.gethostname(),
        }

    def begin(self, job: Job, config: RunConfig) -> None:
        """The attempt has started. A result of an earlier attempt no longer holds."""
        self._values |= {
            "job_id": job.job_id,
            "restart_count": job.restart_count,
            "nodes": list(job.nodes),
            "operational": operational(config),
        }
        self.folder.result_file.unlink(missing_ok=True)
        write_json(self.file, self._values)
        self.folder.append_event(
            "started", self.number, nodes=list(job.nodes), world_size=config.world_size, job_id=job.job_id
        )

    def conclude(self, end: End) -> None:
        """Write down how the attempt ended. What the workers' own result says comes first: they know."""
        status = self.folder.result().get("status")
        if status in DONE:
            self.end(status, None if end.cause == "completed" else end.message)
        elif end.cause in INTERRUPTED:
            self.end(end.cause, end.message)
            if end.cause != "cancelled":
                # Whoever cancels a run has written that event.
                self.folder.append_event(INTERRUPTED[end.cause], self.number, last_step(self.folder), node=end.node)
        else:
            self.fail(end.cause, end.message)

    def end(self, cause: Cause, message: str | None = None) -> None:
        """The attempt has ended; the run may go on in another."""
        self._values |= {"ended": now(), "cause": cause, "message": message or None}
        write_json(self.file, self._values)

    def fail(self, cause: Cause, message: str) -> None:
        """The run has failed, and is finished unless somebody resumes it."""
        self.end(cause, message)
        step = last_step(self.folder)
        self.folder.append_event("failed", self.number, step, cause=cause, message=message)
        result = {"status": "failed", "cause": cause, "message": message, "step": step, "attempts": self.number}
        write_json(self.folder.result_file, result)


def operational(config: RunConfig) -> dict[str, Any]:
    """The config's operational values: what may differ between attempts of one run."""
    return _without_identity(config, config.dump())


def last_step(folder: RunFolder) -> int:
    """The last optimizer step that metrics.jsonl knows, 0 before the first."""
    try:
        return max((int(line["step"]) for line in folder.metrics() if "step" in line), default=0)
    except (OSError, ValueError, TypeError):
        return 0


def _without_identity(group: BaseModel, values: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field, info in type(group).model_fields.items():
        name, inner = info.alias or field, getattr(group, field)
        if not is_identity(type(group), field):
            found[name] = values[name]
        elif isinstance(inner, BaseModel) and (below := _without_identity(inner, values[name])):
            found[name] = below
    return found
