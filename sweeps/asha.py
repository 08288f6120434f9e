"""Asynchronous successive halving (Li et al. 2018, arXiv:1810.05934): which trial goes on to the next rung.

A trial is paused at each rung, a number of optimizer steps, and its loss there decides whether it goes on. Nothing
waits for a rung to fill: as soon as a trial is among the best 1/eta of those that have reached its rung, it may go on.
"""

import math
from collections.abc import Mapping, Sequence


def rungs(full: int, first: int | None, eta: int) -> tuple[int, ...]:
    """Steps of the rungs, ascending: first, first x eta, ... and the full length of a run as the last.

    `first` None: the full length divided by eta twice, rounded up."""
    step = first if first is not None else math.ceil(full / eta**2)
    found = []
    while step < full:
        found.append(step)
        step *= eta
    return (*found, full)


def promotion(
    reached: Sequence[Mapping[int, float]], begun: Sequence[set[int]], eta: int, closing: bool
) -> tuple[int, int] | None:
    """The trial to go on, and its rung so far; None where none may.

    `reached[k]`: trial -> loss of all that have reached rung k, the last rung included; `begun[k]`: those that have
    been let towards it, running ones included. Higher rungs come first. `closing`: no further trial will begin at the
    first rung. Then the best of a rung goes on even where fewer than eta have come so far: some trial must reach the
    end.
    """
    for rung in reversed(range(len(reached) - 1)):
        losses = reached[rung]
        count = len(losses) // eta
        if closing and not count and losses and _settled(reached, begun, rung):
            count = 1
        best = sorted(losses, key=lambda trial: (losses[trial], trial))[:count]
        for trial in best:
            if trial not in begun[rung + 1]:
                return trial, rung
    return None


def _settled(reached: Sequence[Mapping[int, float]], begun: Sequence[set[int]], rung: int) -> bool:
    """Whether no further trial comes to this rung: nothing runs towards it or one below, and none below may go on."""
    return all(begun[below] <= reached[below].keys() for below in range(rung + 1))
