"""How a trial stands, by its run folder: completed, at its rung, failed, or to go on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from conf.folder import RunFolder
from sweeps.ranking import Objective, number


@dataclass(frozen=True)
class Outcome:
    """What came of a job."""

    kind: Literal["completed", "paused", "failed", "unfinished"]
    values: tuple[float, ...] = ()
    """completed: one number for each objective. paused: the held-out loss at `step`."""
    step: int = 0
    cause: str = ""
    """failed: why, in words."""


def outcome(folder: RunFolder, goals: Sequence[Objective], stop_at: int | None) -> Outcome:
    """How the run of a job stands: `stop_at` is the step of its rung, None where it is to be trained to its end."""
    result = folder.result()
    status = result.get("status")
    losses = evaluations(folder)
    if stop_at in losses and status in ("completed", "pruned", "stopped"):
        # One that went further before, for another sweep, is compared at the same step as the others.
        return _paused(losses[stop_at], stop_at)
    if status == "completed":
        metrics = result | (result.get("metrics") or {})
        found = [number(metrics.get(goal.metric)) for goal in goals]
        missing = [goal.metric for goal, value in zip(goals, found, strict=True) if value is None]
        if missing:
            return Outcome("failed", cause=f"{missing[0]} is no number: {metrics.get(missing[0])}")
        return Outcome("completed", tuple(value for value in found if value is not None))
    if status == "failed":
        return Outcome(
            "failed", cause=f"{result.get('cause')}: {str(result.get('message') or '').partition(chr(10))[0]}"
        )
    if status == "stopped" or (status == "pruned" and stop_at is None):
        last = max(losses, default=0)
        return _paused(losses.get(last), last)
    if status == "cancelled" or _cancelled(folder):
        return Outcome("failed", cause="cancelled")
    return Outcome("unfinished")


def evaluations(folder: RunFolder) -> dict[int, float | None]:
    """Held-out loss after each step at which it was taken, but for step 0."""
    lines = [line for line in folder.metrics() if "eval_loss" in line and line.get("step")]
    return {int(line["step"]): number(line["eval_loss"]) for line in lines}


def ended_at(folder: RunFolder) -> str:
    """When the run last came to an end, ISO 8601 in UTC; "" where it never has."""
    try:
        written = datetime.fromtimestamp(folder.result_file.stat().st_mtime, UTC).isoformat(timespec="milliseconds")
    except FileNotFoundError:
        written = ""
    cancelled = [str(line.get("t", "")) for line in folder.events() if line.get("event") == "cancelled"]
    return max([written, *cancelled])


def _paused(loss: float | None, step: int) -> Outcome:
    if loss is None:
        return Outcome("failed", cause=f"stopped at step {step} without a held-out loss")
    return Outcome("paused", (loss,), step)


def _cancelled(folder: RunFolder) -> bool:
    """Whether the last thing that happened is that somebody cancelled it."""
    told = [line["event"] for line in folder.events() if line.get("event") in ("cancelled", "submitted", "started")]
    return bool(told) and told[-1] == "cancelled"
