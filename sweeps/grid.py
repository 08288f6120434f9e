"""The combinations of a grid: axes, values that go together, what is left out, repeats over seeds."""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conf.schema.problems import Problem, did_you_mean
from conf.schema.sweep import SweepConfig
from sweeps.axes import Line, Point, axes_of, check_key, spelled, value_of, values_of

MOST = 100_000
"""Trials of one sweep: more is a mistyped range."""


def points(line: Line, settings: SweepConfig, config_dir: Path | None) -> tuple[list[Point], list[Problem]]:
    """Every combination in order, the last key varying fastest; and what is wrong with the words that say them."""
    problems = list(line.problems)
    columns: list[list[Point]] = []
    zipped = set().union(*settings.zip) if settings.zip else set()
    axes = {key: text for key, text in axes_of(line, settings).items() if key not in zipped}
    for key, text in axes.items():
        values = values_of(key, text, config_dir)
        if isinstance(values, Problem):
            problems.append(values)
        else:
            columns.append([{key: value} for value in dict.fromkeys(values)])
    for number, item in enumerate(settings.zip, 1):
        columns.append(list(_paired(number, item, line, config_dir, problems)))
    if settings.seeds:
        if any("seed" in column[0] for column in columns if column):
            problems.append(Problem("sweep.seeds", "seed varies already: leave sweep.seeds or seed out"))
        columns.append([{"seed": str(seed)} for seed in dict.fromkeys(settings.seeds)])
    count = math.prod(len(column) for column in columns)
    if count > MOST:
        sizes = " x ".join(str(len(column)) for column in columns)
        problems.append(
            Problem("sweep", f"{sizes} = {count} trials, and at most {MOST} make a sweep: take fewer values")
        )
        return [], problems
    combined = [_merged(parts) for parts in itertools.product(*columns)]
    return list(_kept(combined, settings.exclude, problems)), problems


def _merged(parts: tuple[Point, ...]) -> Point:
    return {key: value for part in parts for key, value in part.items()}


def _paired(
    number: int, item: dict[str, list[Any]], line: Line, config_dir: Path | None, problems: list[Problem]
) -> Iterator[Point]:
    """The rows of one set of values that go together; what is typed takes the place of its column."""
    typed = {word.partition("=")[0].strip().lstrip("+") for word in line.fixed}
    columns: dict[str, list[str]] = {}
    for key, listed in item.items():
        values = values_of(key, line.swept[key], config_dir) if key in line.swept else [*map(spelled, listed)]
        wrong = values if isinstance(values, Problem) else check_key(key)
        if wrong is not None:
            problems.append(wrong)
        elif key not in typed and not isinstance(values, Problem):
            columns[key] = values
    lengths = {key: len(values) for key, values in columns.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{key} has {count}" for key, count in lengths.items())
        problems.append(
            Problem("sweep.zip", f"item {number}: values that go together are as many for each key: {said}")
        )
        return
    if not columns or not any(lengths.values()):
        if not typed & set(item):
            problems.append(Problem("sweep.zip", f"item {number} holds no values: as {{adapter.r: [8, 16]}}"))
        yield {}
        return
    for row in zip(*columns.values(), strict=True):
        yield dict(zip(columns, row, strict=True))


def _kept(found: list[Point], exclude: list[dict[str, Any]], problems: list[Problem]) -> Iterator[Point]:
    """The combinations that no exclusion meets. One that meets none is a warning."""
    known = set().union(*found) if found else set()
    rules = []
    for number, item in enumerate(exclude, 1):
        unknown = sorted(set(item) - known)
        if unknown:
            guess = did_you_mean(unknown[0], known)
            problems.append(Problem("sweep.exclude", f"item {number}: {unknown[0]} does not vary here; {guess}"))
            continue
        rules.append({key: value if isinstance(value, list) else [value] for key, value in item.items()})
    met = [False] * len(rules)
    for point in found:
        hits = [index for index, rule in enumerate(rules) if _meets(point, rule)]
        for index in hits:
            met[index] = True
        if not hits:
            yield point
    for index, rule in enumerate(rules):
        if not met[index]:
            problems.append(
                Problem(
                    "sweep.exclude", f"{rule} meets no combination, and leaves nothing out", "exclude", warning=True
                )
            )


def _meets(point: Point, rule: dict[str, list[Any]]) -> bool:
    """Whether a combination has, under every key of a rule, one of its values."""
    for key, listed in rule.items():
        value = value_of(key, point[key])
        if not any(value == each or str(value) == str(each) for each in listed):
            return False
    return True
