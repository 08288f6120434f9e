"""Interleaved pairs: the only way to compare two programs on a machine whose speed changes under us."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

PAIRS = 7
"""Pairs behind each row."""


@dataclass(frozen=True)
class Row:
    """One line of the table: how many times as long ours takes as the alternative."""

    what: str
    ours: str
    alternative: str
    ratios: tuple[float, ...]
    ours_seconds: float
    alternative_seconds: float

    def cells(self) -> list[str]:
        """The row in words: what, ours, alternative, median seconds of each, median ratio, spread."""
        return [
            self.what,
            self.ours,
            self.alternative,
            f"{self.ours_seconds:.3f}",
            f"{self.alternative_seconds:.3f}",
            f"{statistics.median(self.ratios):.3f}",
            f"{min(self.ratios):.3f} to {max(self.ratios):.3f} ({len(self.ratios)} pairs)",
        ]


HEADER = ["what", "ours", "alternative", "ours, s", "alternative, s", "ratio (median)", "spread"]


def compare(
    what: str,
    ours: tuple[str, Callable[[int], float]],
    alternatives: list[tuple[str, Callable[[int], float]]],
    pairs: int = PAIRS,
) -> list[Row]:
    """Time ours and every alternative in turn, `pairs` times, after one unrecorded round; a row an alternative.

    Each callable takes the round's number and returns seconds. The order within a round alternates, so that neither
    side always runs on the warmer machine.
    """
    names = [ours[0], *(name for name, _ in alternatives)]
    callables = [ours[1], *(function for _, function in alternatives)]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for round_number in range(pairs + 1):
        order = list(zip(names, callables, strict=True))
        for name, function in order if round_number % 2 else reversed(order):
            took = function(round_number)
            if round_number:
                seconds[name].append(took)
            print(f"  {what}, round {round_number}: {name} {took:.3f} s", flush=True)
    mine = seconds[ours[0]]
    return [
        Row(
            what,
            ours[0],
            name,
            tuple(a / b for a, b in zip(mine, seconds[name], strict=True)),
            statistics.median(mine),
            statistics.median(seconds[name]),
        )
        for name, _ in alternatives
    ]
