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


Program = tuple[str, Callable[[int], dict[str, float]]]
"""A program's name, and a function that runs it once for a round's number and returns seconds by what was measured."""


def interleave(programs: list[Program], pairs: int = PAIRS) -> dict[str, list[dict[str, float]]]:
    """Run all programs in turn, `pairs` times after one unrecorded round; the measurements of each, by name.

    The order within a round alternates, so that no side always runs on the warmer machine.
    """
    measured: dict[str, list[dict[str, float]]] = {name: [] for name, _ in programs}
    for round_number in range(pairs + 1):
        for name, run in programs if round_number % 2 else reversed(programs):
            seconds = run(round_number)
            if round_number:
                measured[name].append(seconds)
            said = ", ".join(f"{what} {value:.3f} s" for what, value in seconds.items())
            print(f"  round {round_number}: {name}: {said}", flush=True)
    return measured


def row(what: str, key: str, ours: str, alternative: str, measured: dict[str, list[dict[str, float]]]) -> Row:
    """One line of the table from the measurements under `key`."""
    mine = [seconds[key] for seconds in measured[ours]]
    theirs = [seconds[key] for seconds in measured[alternative]]
    ratios = tuple(a / b for a, b in zip(mine, theirs, strict=True))
    return Row(what, ours, alternative, ratios, statistics.median(mine), statistics.median(theirs))
