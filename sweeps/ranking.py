"""Which trial is better: objectives with their directions, spread over seeds, fronts."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Direction = Literal["minimize", "maximize"]
DIRECTIONS: dict[str, Direction] = {"eval_loss": "minimize", "train_loss": "minimize", "tokens_per_second": "maximize"}
"""What is better of the numbers that every run reports; any other is taken as a loss unless the sweep says."""


@dataclass(frozen=True)
class Objective:
    """One number to be made small or large."""

    metric: str
    direction: Direction

    def cost(self, value: float) -> float:
        """The number turned such that less is better."""
        return value if self.direction == "minimize" else -value


@dataclass(frozen=True)
class Spread:
    """A metric over the repeats of one configuration."""

    mean: float
    std: float | None
    """Standard deviation of a sample (n - 1); None for a single value."""
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread | None":
        """The spread of some values; None where there are none."""
        if not values:
            return None
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))


def objectives(record: Mapping[str, Any]) -> list[Objective]:
    """The objectives of a sweep by its sweep.json: those that it lists, else its one metric, else the held-out loss."""
    listed = record.get("objectives") or [{"metric": record.get("metric") or "eval_loss"}]
    return [
        Objective(each["metric"], each.get("direction") or DIRECTIONS.get(each["metric"], "minimize"))
        for each in listed
    ]


def number(value: Any) -> float | None:
    """A finite number, else None: what cannot be compared is no result."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else None


def beaten_by(costs: Sequence[Sequence[float]]) -> list[int]:
    """By how many others each point is beaten: nowhere better, somewhere worse. Less is better; the points that
    nothing beats are the Pareto front (the ranking of Fonseca and Fleming, 1993)."""
    return [sum(_beats(other, one) for other in costs) for one in costs]


def _beats(one: Sequence[float], other: Sequence[float]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
