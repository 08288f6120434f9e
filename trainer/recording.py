"""What a run tells while it trains: events.jsonl, metrics.jsonl, curves, and lines in the log. Rank 0 alone."""

import logging
import math
import time
from pathlib import Path
from typing import Any

from conf.folder import Event, RunFolder, append_line, now
from conf.schema.run import RunConfig
from trainer import tracking
from trainer.beat import Beat
from trainer.result import totals

STEP_EVENT_SECONDS = 30.0
"""Least time between two `step` events, which show that the run is alive."""
LOG_SECONDS = 5.0
"""Least time between two progress lines in the log."""

log = logging.getLogger("trainer")


class Recorder:
    """Writes the run's records on rank 0; on other ranks every method does nothing.

    With `tracked`, the run's config, curves go to the place that it names, too."""

    def __init__(self, folder: RunFolder, attempt: int, rank: int, tracked: RunConfig | None = None) -> None:
        self.folder = folder
        self.attempt = attempt
        self.writes = rank == 0
        self.tracked = tracked if self.writes else None
        self.tracker: tracking.Tracker | None = None
        self.total_steps = 0
        self.tokens = 0
        """Non-padding tokens of all steps so far, over all workers and attempts."""
        self.seconds = 0.0
        """Time of all steps so far over all attempts."""
        self._tokens = 0
        self._seconds = 0.0
        self._steps = 0
        self._mark = time.perf_counter()
        self._undone = 0.0
        self._beat = Beat(folder.attempt_folder(attempt))
        self._resumed: tuple[int, float, dict[str, Any]] | None = None
        self._last_event = -math.inf
        self._last_line = -math.inf

    def event(self, event: Event, step: int | None = None, **more: Any) -> None:
        """Append an event."""
        if self.writes:
            self.folder.append_event(event, self.attempt, step, **more)

    def alive(self) -> None:
        """Show that the run makes progress."""
        if self.writes:
            self._beat.strike()

    def resumes(self, path: Path, step: int, seconds: float, **more: Any) -> None:
        """Training is about to go on from the checkpoint in `path`, found and verified in `seconds`.

        `begin`, which is called once its state is loaded, tells it: the event's seconds are those of both."""
        self._resumed = (step, time.perf_counter() - seconds, {"path": str(path)} | more)

    def begin(self, total_steps: int, step: int) -> None:
        """Training starts at `step` of `total_steps`."""
        if self._resumed is not None:
            saved, begun, more = self._resumed
            self._resumed = None
            self.event("resumed", saved, seconds=round(time.perf_counter() - begun, 3), **more)
        self.alive()
        self.total_steps = total_steps
        if self.tracked is not None:
            self._count_on()
            self.tracker = tracking.start(self.tracked, self.folder, self.attempt, step)
        self.restart_clock()

    def _count_on(self) -> None:
        """Take up what the attempts before have spent on steps that are to be made again."""
        self._undone = max(totals(self.folder.metrics()).spent - self.seconds, 0.0)

    def restart_clock(self) -> None:
        """The time since the last step was spent on something else than training."""
        self._mark = time.perf_counter()

    def since_last_step(self) -> float:
        """Seconds of the present step so far."""
        return time.perf_counter() - self._mark

    def step_done(self, step: int, tokens: int) -> None:
        """A step is over; `tokens` are its non-padding tokens over all workers."""
        present = time.perf_counter()
        self._seconds += present - self._mark
        self.seconds += present - self._mark
        self._tokens += tokens
        self.tokens += tokens
        self._steps += 1
        self._mark = present
        self.alive()
        if present - self._last_event > STEP_EVENT_SECONDS:
            self._last_event = present
            self.event("step", step)

    def metrics(self, step: int, loss: float, learning_rate: float, grad_norm: float | None) -> None:
        """Write a line for the steps since the last line. `loss` is their mean; so are tokens and seconds."""
        steps = max(self._steps, 1)
        tokens, seconds = round(self._tokens / steps), round(self._seconds / steps, 6)
        line = {
            "step": step,
            "loss": _finite(loss),
            "learning_rate": learning_rate,
            "grad_norm": _finite(grad_norm),
            "tokens": tokens,
            "seconds": seconds,
            "t": now(),
        }
        self._steps, self._tokens, self._seconds = 0, 0, 0.0
        if not self.writes:
            return
        append_line(self.folder.metrics_file, line)
        curves = {"train/loss": loss, "train/learning_rate": learning_rate, "train/grad_norm": grad_norm}
        curves |= {"speed/tokens_per_second": tokens / max(seconds, 1e-9)}
        curves |= {"progress/tokens": float(self.tokens), "progress/seconds": self.seconds + self._undone}
        self._scalars(step, curves)
        if time.perf_counter() - self._last_line > LOG_SECONDS or step == self.total_steps:
            self._last_line = time.perf_counter()
            log.info("step %d/%d  loss %.4f  %.2f s a step", step, self.total_steps, loss, seconds)

    def evaluated(self, step: int, eval_loss: float) -> None:
        """Held-out rows were evaluated; `eval_loss` is the mean over their trained tokens, in nats."""
        if self.writes:
            append_line(self.folder.metrics_file, {"step": step, "eval_loss": _finite(eval_loss), "t": now()})
            self.event("evaluated", step, eval_loss=_finite(eval_loss))
            self._scalars(step, {"eval/loss": eval_loss})
            log.info("step %d/%d  evaluation loss %.4f", step, self.total_steps, eval_loss)
        self.restart_clock()

    def close(self) -> None:
        """Flush what is held back."""
        if self.tracker is not None:
            self.tracker.close()
            self.tracker = None

    def _scalars(self, step: int, values: dict[str, float | None]) -> None:
        if self.tracker is not None:
            self.tracker.scalars(step, {name: value for name, value in values.items() if value is not None})


def _finite(value: float | None) -> float | None:
    """JSON has no word for inf and nan."""
    return value if value is not None and math.isfinite(value) else None
