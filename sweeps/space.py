"""The space of a search: what the swept words of a line and the lists of its settings span, in Hydra's own grammar.

`a,b,c`, `choice(...)`, `glob(...)` of options: categories. `range(a,b,s)`: equal steps. `interval(a,b)`: any number
between; `int(interval(a,b))` or `tag(int,interval(a,b))`: whole ones; `tag(log,interval(a,b))`: evenly in the
logarithm.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from conf.schema.problems import ConfigProblems, Problem
from launcher.grammar import parse
from launcher.options import groups
from sweeps.axes import Point, check_key, spelled, values_of

INTERVAL_POINTS = 3
"""Points that stand for an interval in a grid: both ends and the middle."""
Number = int | float


@dataclass(frozen=True)
class Axis:
    """One thing that varies. A value on it is a text as typed (categories) or a number."""

    name: str
    """Dotted path of a field, or an option group."""
    choices: tuple[str, ...] = ()
    """Values of a category, as they are typed; empty for numbers."""
    low: float = 0.0
    high: float = 0.0
    """Both ends of a range of numbers belong to it."""
    step: float | None = None
    """Distance of its numbers; None for an interval, which has every number (every whole one where `integer`)."""
    log: bool = False
    integer: bool = False

    def points(self) -> list[str | Number]:
        """The values that stand for it in a grid."""
        if self.choices:
            return list(self.choices)
        if self.step is not None:
            count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
            return [self._number(self.low + index * self.step) for index in range(count)]
        shares = [index / (INTERVAL_POINTS - 1) for index in range(INTERVAL_POINTS)]
        if self.log:
            found = [self.low * (self.high / self.low) ** share for share in shares]
        else:
            found = [self.low + share * (self.high - self.low) for share in shares]
        return list(dict.fromkeys(self._number(value) for value in found))

    def place(self, value: Any) -> str | Number | None:
        """A plain value as a value on this axis; None where it does not lie on it."""
        if self.choices:
            text = spelled(value)
            texts = (text, value) if isinstance(value, str) else (text,)
            return next((each for each in self.choices if any(_same(each, given) for given in texts)), None)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        whole = not self.integer or float(value).is_integer()
        return self._number(value) if whole and self.low <= value <= self.high else None

    @property
    def finite(self) -> bool:
        """Whether `points` are all that there is."""
        return bool(self.choices) or self.step is not None

    def _number(self, value: float) -> Number:
        return round(value) if self.integer else float(f"{value:.12g}")


@dataclass(frozen=True)
class Space:
    """All that varies: option groups first, then other categories, then numbers. What is chosen first decides what of
    the rest is in use."""

    axes: tuple[Axis, ...]

    def grid(self) -> Iterator[dict[str, str | Number]]:
        """Every combination of the axes' points."""
        for values in itertools.product(*(axis.points() for axis in self.axes)):
            yield dict(zip((axis.name for axis in self.axes), values, strict=True))

    @property
    def size(self) -> float:
        """Number of different points; infinite where an interval takes part."""
        if not all(axis.finite for axis in self.axes):
            return math.inf
        return math.prod(len(axis.points()) for axis in self.axes)


def typed(values: Mapping[str, Any]) -> Point:
    """Values on axes as they are typed for one run, numbers to six digits."""
    return {
        name: value if isinstance(value, str) else repr(float(f"{value:.6g}") if isinstance(value, float) else value)
        for name, value in values.items()
    }


def read_space(axes: Mapping[str, str], config_dir: Path | None = None) -> Space:
    """The space of some axes: name -> values as typed.

    Raises ConfigProblems with every problem: an unknown name, an interval of what is no number or upside down, a list
    without values."""
    problems: list[Problem] = []
    found: list[Axis] = []
    for name, text in axes.items():
        wrong = check_key(name)
        if wrong is not None:
            problems.append(wrong)
            continue
        try:
            axis = _axis(name, text, config_dir)
        except ValueError as error:
            axis = Problem(name, f"{name}={text}: {error}")
        if isinstance(axis, Problem):
            problems.append(axis)
        else:
            found.append(axis)
    if problems:
        raise ConfigProblems(problems)
    return Space(tuple(sorted(found, key=lambda axis: (axis.name not in groups(), not axis.choices))))


def _axis(name: str, text: str, config_dir: Path | None) -> Axis | Problem:
    """One axis. Raises ValueError with what is wrong."""
    parsed = parse(f"{name}={text}")
    given = parsed._value if isinstance(parsed, Override) else None
    if isinstance(given, IntervalSweep):
        return _interval(name, given)
    if isinstance(given, RangeSweep):
        return _range(name, given)
    values = values_of(name, text, config_dir)
    if isinstance(values, Problem):
        return values
    return Axis(name, tuple(dict.fromkeys(values)))


def _range(name: str, given: RangeSweep) -> Axis:
    start, stop, step = (float(each or 0) for each in (given.start, given.stop, given.step))
    if step <= 0 or start >= stop:
        raise ValueError("a search takes a rising range: range(START,STOP) or range(START,STOP,STEP)")
    integer = start.is_integer() and step.is_integer()
    count = math.ceil((stop - start) / step - 1e-9)
    return Axis(name, (), start, start + (count - 1) * step, step, integer=integer)


def _interval(name: str, given: IntervalSweep) -> Axis:
    if name in groups():
        raise ValueError("an interval holds numbers, and this is a group: list its options")
    unknown = sorted(given.tags - {"int", "log"})
    if unknown:
        raise ValueError(f"the tag {unknown[0]} is not known: there is int and log")
    integer = "int" in given.tags or (isinstance(given.start, int) and isinstance(given.end, int))
    low, high = float(given.start or 0), float(given.end or 0)
    if integer:
        low, high = math.ceil(low), math.floor(high)
    if low >= high:
        raise ValueError("the first end of an interval must be below the second")
    if "log" in given.tags and low <= 0:
        raise ValueError("a logarithm takes ends above 0")
    return Axis(name, (), low, high, log="log" in given.tags, integer=integer)


def _same(one: str, other: str) -> bool:
    """Whether two texts say the same, as 1e-4 and 0.0001 do."""
    try:
        return one == other or float(one) == float(other)
    except ValueError:
        return False
