"""What a storm has done so far, kept on disk after every fault: a storm that was interrupted goes on."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from conf.folder import write_json
from tests.storm.schedule import Kind, Phase


@dataclass
class Hit:
    """One fault that hit."""

    number: int
    """Place in the schedule, from 0."""
    kind: Kind
    phase: Phase
    attempt: int
    """Attempt that it hit."""
    before: int
    """Step up to which the run had come: the last one made, or in an early phase the one to go on from."""
    when: str
    """Time of the hit, ISO 8601."""
    detail: str
    """Node, rank, file."""
    after: int | None = None
    """First step made afterwards; None until it is."""
    saved: float | None = None
    """Seconds from the notice to the durable checkpoint; None without a notice, or where nothing was unsaved."""
    by_hand: bool = False
    """Whether somebody had to resume the run afterwards."""
    released: int = 0
    """Times that Slurm held the job after a launch that failed on a node, mostly since an old start still ran there,
    and `resume` released it."""

    @property
    def lost(self) -> int | None:
        """Steps that were made again."""
        return None if self.after is None else self.before + 1 - self.after


@dataclass
class Stretch:
    """One job under measurement: the calm run, or a run of the comparison."""

    steps: int
    held: float
    """Seconds that jobs held their nodes."""
    step_seconds: float
    """Median of one step."""
    digest: str | None = None
    lost: int = 0
    interruptions: int = 0
    resubmitted: int = 0
    """Times that a person would have had to submit it again."""


@dataclass
class State:
    """All of it."""

    hits: list[Hit] = field(default_factory=list)
    tries: dict[str, int] = field(default_factory=dict)
    """Number of a fault -> times that it was tried without a hit."""
    sessions: int = 0
    """Times that the storm's command was started."""
    held: dict[str, float] = field(default_factory=dict)
    """Session -> seconds that the run's jobs held their nodes in it."""
    calm: Stretch | None = None
    ours: Stretch | None = None
    """Slurmwright under the preemptions alone."""
    plain: Stretch | None = None
    """The plain script under the same."""
    digest: str | None = None
    """Of the final weights; None until the run has ended."""

    def save(self, file: Path) -> None:
        """Write it whole."""
        write_json(file, asdict(self))


def load(file: Path) -> State:
    """From `save`; a new one where there is no file."""
    try:
        values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return State()
    values["hits"] = [Hit(**hit) for hit in values["hits"]]
    for name in ("calm", "ours", "plain"):
        values[name] = None if values[name] is None else Stretch(**values[name])
    return State(**values)
