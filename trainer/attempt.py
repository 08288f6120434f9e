"""The records of one attempt, written by the head node's agent alone: attempt.json, events, result.json on failure."""

import os
import socket
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from conf.folder import Cause, Event, RunFolder, now, read_json, write_json
from conf.schema.identity import is_identity
from conf.schema.run import RunConfig
from trainer.budget import COUNTED, Decision, decide
from trainer.ends import End
from trainer.job import Job
from trainer.last_words import log_size, said_in_log

INTERRUPTED: dict[Cause, Event] = {"preempted": "preempted", "time_limit": "timed_out", "cancelled": "cancelled"}
"""Causes after which the run is not finished by our own word, with their events."""
DONE: tuple[Cause, ...] = ("completed", "stopped", "pruned")
"""Ends that the workers themselves bring about, with a result."""


LEFT = "left.json"
"""File in an attempt's folder that says that the workers have saved and left because they were told to."""


def left(attempt: Path) -> int | None:
    """The step after which all workers left together; None where they did not."""
    step = read_json(attempt / LEFT).get("step")
    return None if step is None else int(step)


def surprises(folder: RunFolder) -> tuple[int, float]:
    """Attempts that had no time to save though another could go on, and the node-hours of all attempts.

    A notice that came before an attempt's first step took nothing away."""
    found, held, before = 0, 0.0, 0
    for number in folder.attempt_numbers():
        record = read_json(folder.attempt_folder(number) / "attempt.json")
        if record.get("ended"):
            cause, step = record.get("cause"), int(record.get("step") or 0)
            told_early = cause in INTERRUPTED and step == before
            found += cause in COUNTED and not told_early and left(folder.attempt_folder(number)) is None
            before = step
            lasted = datetime.fromisoformat(record["ended"]) - datetime.fromisoformat(record["started"])
            held += len(record["nodes"]) * lasted.total_seconds() / 3600
    return found, held


class AttemptRecord:
    """attempts/<n>/attempt.json and what goes with it."""

    def __init__(self, folder: RunFolder, number: int, begun: Mapping[str, Any] | None = None) -> None:
        """`begun` is attempt.json as another process wrote it, where this one only ends the attempt."""
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
            "log_from": 0,
        } | dict(begun or {})
        self._closed = False

    def begin(self, job: Job, config: RunConfig) -> None:
        """The attempt has started. A result of an earlier attempt no longer holds."""
        self._values |= {
            "job_id": job.job_id,
            "restart_count": job.restart_count,
            "nodes": list(job.nodes),
            "operational": operational(config),
            "log_from": log_size(self.folder, job.job_id),
        }
        self.folder.result_file.unlink(missing_ok=True)
        self._close_earlier()
        write_json(self.file, self._values)
        self.folder.append_event(
            "started", self.number, nodes=list(job.nodes), world_size=config.world_size, job_id=job.job_id
        )

    def _close_earlier(self) -> None:
        """Attempts that could not say how they ended: their head node died, and Slurm started the job again."""
        for number in self.folder.attempt_numbers():
            file = self.folder.attempt_folder(number) / "attempt.json"
            before = read_json(file)
            if number < self.number and before and not before.get("ended"):
                self._closed = True
                write_json(file, before | self._close(number, before))

    def _close(self, number: int, before: Mapping[str, Any]) -> dict[str, Any]:
        """How an earlier attempt ended, from its job's log; where that says nothing, the head node is to blame."""
        saved = left(self.folder.attempt_folder(number))
        ended = {"ended": now(), "culprit": None, "step": last_step(self.folder) if saved is None else saved}
        if (said := said_in_log(self.folder, before)) is not None:
            return ended | {"cause": said[0], "message": f"ended without a word of its agents. {said[1]}"}
        head = next(iter(before.get("nodes") or ()), None)
        words = f"ended without a word: its head node{f' {head}' if head else ''} was lost"
        if head is not None:
            self.folder.append_event("node_lost", number, node=head)
        return ended | {"cause": "node_failure", "message": words, "culprit": head}

    def used_up(self, config: RunConfig) -> str:
        """Why the run must not go on although Slurm has started it again; empty where it may.

        Slurm does that by itself when a head node is lost, and nobody was left to count."""
        before = self._attempts() if self._closed else []
        # None counts where a person has resumed the run since.
        # That a disk was full is written down by now, so there is room again.
        decision = decide(before, config.limits) if before and before[-1]["cause"] != "disk_full" else Decision(True)
        return "" if decision.again else decision.why

    def conclude(self, end: End, config: RunConfig, requeues: bool) -> Decision | None:
        """Write down how the attempt ended. What the workers' own result says comes first: they know.

        Gives the decision that the run goes on by itself, where it does; only a job of Slurm can (`requeues`)."""
        status = self.folder.result().get("status")
        if status in DONE:
            self.end(status, None if end.cause == "completed" else end.message)
            return None
        if end.cause == "cancelled":
            self.end(end.cause, end.message)  # whoever cancels a run has written that event
            return None
        culprit = end.node if end.cause == "node_failure" else None
        saved = left(self.file.parent)
        self._values |= {"step": last_step(self.folder) if saved is None else saved, "culprit": culprit}
        self.end(end.cause, end.message)
        if culprit is not None:
            self.folder.append_event("node_lost", self.number, node=culprit)
        if end.cause in INTERRUPTED:
            self.folder.append_event(INTERRUPTED[end.cause], self.number, self._values["step"], node=end.node)
        decision = decide(self._attempts(), config.limits) if requeues else Decision(False)
        if decision.again:
            return decision
        if decision.why or end.cause not in INTERRUPTED:
            self.fail(end.cause, end.message + (f"\n{decision.why}" if decision.why else ""))
        return None

    def _attempts(self) -> list[dict[str, Any]]:
        """The attempts that have ended since somebody started the run or resumed it, oldest first."""
        first = self._first()
        numbers = [number for number in self.folder.attempt_numbers() if number >= first]
        records = [read_json(self.folder.attempt_folder(number) / "attempt.json") for number in numbers]
        return [record for record in records if record.get("ended")]

    def _first(self) -> int:
        """Number of the attempt from which budgets count: a person who resumes a run means it to go on. A job that the
        run has chained to its own says why, and counts on."""
        starts = [event for event in self.folder.events() if event.get("event") == "submitted" and "why" not in event]
        return int(starts[-1].get("attempt") or 1) if starts else 1

    def not_again(self, end: End, complaint: str) -> None:
        """Slurm refuses another attempt."""
        if end.cause in INTERRUPTED:
            self.end(end.cause, f"{end.message}; another attempt was refused: {complaint}")
        else:
            self.fail(end.cause, f"{end.message}\nanother attempt was refused: {complaint}")

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
