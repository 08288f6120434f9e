"""How far a run is, how fast, and for how long yet: from its events and metrics."""

from collections import deque
from collections.abc import Iterable
from typing import Any

from conf.folder import RunFolder

RECENT = 20
"""Records that the present rate is taken from."""
PHASES = {
    "submitted": "waits to be started",
    "started": "starts: nodes meet, weights and data are made ready",
    "imported": "joins its workers",
    "rendezvoused": "loads the model",
    "model_loaded": "reads the data",
    "data_ready": "trains",
    "finished": "is done",
}
"""What a run does after an event, in words."""


class Progress:
    """A run's progress; it is fed lines in the order of their writing."""

    def __init__(self) -> None:
        self.phase = "has not been started"
        self.attempt = 0
        self.step = 0
        self.steps: int | None = None
        """Optimizer steps in all, once they are known."""
        self.loss: float | None = None
        """Training loss of the last record, in nats a trained token."""
        self.changed: str | None = None
        """In words: where the newest attempt is laid out otherwise than the one whose checkpoint it goes on from."""
        self.eval_before: float | None = None
        self.eval_loss: float | None = None
        self._recent: deque[tuple[float, float]] = deque(maxlen=RECENT)
        self._since = ""

    @classmethod
    def of(cls, folder: RunFolder) -> "Progress":
        """The progress that a run folder shows now."""
        progress = cls()
        progress.feed(folder.events(), folder.metrics())
        return progress

    def feed(self, events: Iterable[dict[str, Any]], metrics: Iterable[dict[str, Any]]) -> None:
        """Take in new lines of events.jsonl and metrics.jsonl."""
        for line in events:
            self._event(line)
        for line in metrics:
            self._metric(line)

    def _event(self, line: dict[str, Any]) -> None:
        name = line.get("event", "")
        self.phase = PHASES.get(name, self.phase)
        self.attempt = max(self.attempt, int(line.get("attempt") or 0))
        if name == "started":
            self._recent.clear()
            self.changed = None
            self._since = str(line.get("t", ""))
        elif name == "data_ready":
            self.steps = line.get("steps", self.steps)
        elif name == "resumed":
            self.step = line.get("step", self.step)
            self.changed = line.get("message")
        elif name == "evaluated":
            if line.get("step") == 0:
                self.eval_before = line.get("eval_loss")
            else:
                self.eval_loss = line.get("eval_loss")

    def _metric(self, line: dict[str, Any]) -> None:
        if "loss" not in line:
            return
        self.step = int(line.get("step", self.step))
        self.loss = line["loss"]
        if str(line.get("t", "")) >= self._since:  # an earlier attempt had other machines
            self._recent.append((float(line.get("seconds") or 0.0), float(line.get("tokens") or 0.0)))

    @property
    def training(self) -> bool:
        """Whether steps are being made: a run that goes on has a step from before until then."""
        return self.phase == PHASES["data_ready"] and self.steps is not None and self.step > 0

    @property
    def seconds_per_step(self) -> float | None:
        """Mean time of a recent step; None before the first."""
        if not self._recent:
            return None
        return sum(seconds for seconds, _ in self._recent) / len(self._recent) or None

    @property
    def tokens_per_second(self) -> float | None:
        """Non-padding tokens a second over recent steps; None before the first."""
        seconds = sum(seconds for seconds, _ in self._recent)
        return sum(tokens for _, tokens in self._recent) / seconds if seconds else None

    @property
    def seconds_left(self) -> float | None:
        """Time that the remaining steps take at the present rate; None while it cannot be told."""
        each = self.seconds_per_step
        return None if each is None or self.steps is None else max(self.steps - self.step, 0) * each

    def rate(self) -> str:
        """The present rate in words; empty before the first step."""
        each, tokens = self.seconds_per_step, self.tokens_per_second
        if each is None:
            return ""
        steps = f"{1 / each:.2f} steps/s" if each < 1 else f"{each:.1f} s a step"
        return steps + (f", {tokens:,.0f} tokens/s" if tokens else "")


def clock(seconds: float | None) -> str:
    """A time as 0:00:00, a day and more as 1-00:00:00; empty where it is not known."""
    if seconds is None:
        return ""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return (f"{days}-{hour:02d}" if days else f"{hour}") + f":{minute:02d}:{second:02d}"
