"""Pairwise covering arrays: few combinations in which every two values of different factors meet."""

from collections.abc import Mapping, Sequence
from itertools import combinations, product
from typing import Any

Pair = tuple[tuple[str, Any], tuple[str, Any]]


def pairs(row: Mapping[str, Any]) -> set[Pair]:
    """All pairs of values of one combination."""
    return set(combinations(row.items(), 2))


def every_pair(factors: Mapping[str, Sequence[Any]]) -> set[Pair]:
    """All pairs of values that an array over these factors must hold."""
    return {
        ((one, a), (other, b))
        for one, other in combinations(factors, 2)
        for a in factors[one]
        for b in factors[other]
    }  # fmt: skip


def covering(factors: Mapping[str, Sequence[Any]], least: int = 0) -> list[dict[str, Any]]:
    """Combinations that hold every pair of values, chosen greedily from the whole product: always the one with the
    most pairs that are new, the first of several. With all pairs held, others follow until there are `least`: those
    whose pairs have been seen least often."""
    rows = [dict(zip(factors, values, strict=True)) for values in product(*factors.values())]
    seen = dict.fromkeys(every_pair(factors), 0)
    chosen: list[dict[str, Any]] = []
    while rows and (0 in seen.values() or len(chosen) < least):
        best = max(rows, key=lambda row: (sum(seen[pair] == 0 for pair in pairs(row)), -_known(row, seen)))
        rows.remove(best)
        chosen.append(best)
        for pair in pairs(best):
            seen[pair] += 1
    return chosen


def _known(row: Mapping[str, Any], seen: Mapping[Pair, int]) -> int:
    return sum(seen[pair] for pair in pairs(row))
