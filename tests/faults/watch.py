"""Following a run from outside, closely enough to hit it at a chosen step."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conf.folder import RunFolder
from tests.slurm.launching import all_logs

PAUSE = 0.005
"""Seconds between two looks: a step of the tiny model takes tens of milliseconds."""
SELDOM = 0.1
"""Seconds between two questions while the run says nothing new."""


class Missed(Exception):
    """What was waited for did not come; the message says what, and holds the run's logs."""


class Tail:
    """A file of JSON lines that grows; reads only what is new."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.lines: list[dict[str, Any]] = []

    def read(self) -> None:
        """Take in the complete lines that came since the last call. What is no JSON (a full disk cuts lines) is passed
        over."""
        try:
            if self._path.stat().st_size <= self._offset:
                return
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                continue


class Watch:
    """What a run has told so far."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._events = Tail(folder.events_file)
        self._metrics = Tail(folder.metrics_file)

    def look(self) -> "Watch":
        """Take in what is new."""
        self._metrics.read()
        self._events.read()
        return self

    @property
    def events(self) -> list[dict[str, Any]]:
        """Lines of events.jsonl, as of the last look."""
        return self._events.lines

    @property
    def losses(self) -> list[dict[str, Any]]:
        """Lines of metrics.jsonl that stand for steps, as of the last look; the run must log each step."""
        return [line for line in self._metrics.lines if "loss" in line]

    @property
    def step(self) -> int:
        """The step of the newest line, 0 before the first. After a loss it is lower than before."""
        lines = self._metrics.lines
        return next((int(line["step"]) for line in reversed(lines) if "loss" in line), 0)

    @property
    def attempt(self) -> int:
        """Number of the newest attempt that has started, 0 before the first."""
        return next((int(line["attempt"]) for line in reversed(self.events) if line["event"] == "started"), 0)

    def of(self, attempt: int, event: str) -> list[dict[str, Any]]:
        """The events of one name in one attempt."""
        return [line for line in self.events if line["event"] == event and line.get("attempt") == attempt]

    def steps_of(self, attempt: int, until: str = "~") -> list[int]:
        """Steps that an attempt made, in order: lines between its start and the start of the next, before a time."""
        return [line["step"] for line in self.lines_of(attempt) if line["t"] < until]

    def under_way(self, attempt: int) -> int:
        """Steps that an attempt made after it had begun its last checkpoint, where it could not finish that one."""
        started, steps = self.of(attempt, "checkpoint_started"), self.steps_of(attempt)
        if len(started) == len(self.of(attempt, "checkpoint_committed")) or not steps:
            return 0
        return max(0, steps[-1] - int(started[-1]["step"]))

    def lines_of(self, attempt: int) -> list[dict[str, Any]]:
        """The metrics of an attempt's steps."""
        starts = {int(line["attempt"]): line["t"] for line in self.events if line["event"] == "started"}
        later = [number for number in starts if number > attempt]
        begin, end = starts.get(attempt), starts[min(later)] if later else "~"
        return [line for line in self.losses if begin is not None and begin <= line["t"] < end]

    def until(self, condition: Callable[["Watch"], bool], timeout: float, what: str) -> None:
        """Return when the condition holds after a look. Raises Missed after `timeout` seconds."""
        deadline, asked = time.monotonic() + timeout, 0.0
        while True:
            known = len(self._metrics.lines) + len(self._events.lines)
            self.look()
            # News is looked at at once; what a condition reads elsewhere can wait a little.
            if len(self._metrics.lines) + len(self._events.lines) > known or time.monotonic() - asked > SELDOM:
                if condition(self):
                    return
                asked = time.monotonic()
            if time.monotonic() > deadline:
                raise Missed(f"{self.folder.id}: waited {timeout:.0f} s in vain for {what}\n{all_logs(self.folder)}")
            time.sleep(PAUSE)
