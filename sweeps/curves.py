"""Curves of a run from its metrics: the steps that led to its present state, thinned to what a screen shows."""

from collections.abc import Sequence
from typing import Any

from conf.folder import RunFolder
from sweeps.ranking import number

MOST_POINTS = 600
"""Points of one curve; of more, evenly spaced ones are kept, the last always."""


def curves(folder: RunFolder, most: int = MOST_POINTS) -> dict[str, list[tuple[int, float]]]:
    """Points (step, value) of loss, eval_loss, learning_rate, grad_norm and seconds (of a step).

    Steps that a crash undid are left out: a line replaces every line of its own or a later step before it."""
    trained: list[dict[str, Any]] = []
    evaluated: list[dict[str, Any]] = []
    for line in folder.metrics():
        path = evaluated if "eval_loss" in line else trained
        if not isinstance(line.get("step"), int):
            continue
        while path and path[-1]["step"] >= line["step"]:
            path.pop()
        path.append(line)
    names = ("loss", "learning_rate", "grad_norm", "seconds")
    found = {name: thin(_points(trained, name), most) for name in names}
    return found | {"eval_loss": thin(_points(evaluated, "eval_loss"), most)}


def _points(lines: list[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    return [(line["step"], value) for line in lines if (value := number(line.get(name))) is not None]


def thin(points: Sequence[tuple[int, float]], most: int) -> list[tuple[int, float]]:
    """At most so many points, evenly spaced over their indexes, first and last among them."""
    if len(points) <= most:
        return list(points)
    return [points[round(index * (len(points) - 1) / (most - 1))] for index in range(most)]
