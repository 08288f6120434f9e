"""What a search looks for: its space, its objectives and its limits, as sweep.json says them."""

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice, product
from pathlib import Path
from typing import Any

from conf.schema.problems import ConfigProblems, Problem
from conf.schema.run import RunConfig
from conf.schema.sweep import BudgetConfig, SweepConfig
from launcher.options import groups
from launcher.resolve import Resolved
from sweeps.asha import rungs
from sweeps.axes import Point, axes_of, read_line, spelled
from sweeps.expand import Expander, Settings
from sweeps.folder import SweepFolder
from sweeps.ranking import Objective, objectives
from sweeps.space import Number, Space, read_space, typed

TRIALS = 20
"""Trials of a search that names neither a number of them nor a budget."""
MOST_GRID = 10_000
"""Combinations of a space that are counted one by one; a larger one is taken as endless."""
MOST_PREPARED = 200
"""Combinations of weights and rows that are prepared before a search begins; trials prepare the others."""
_OPTIONS = "conf"
"""Folder in a sweep with the user's own options as they were when the search began."""
Values = dict[str, str | Number]
"""A point of the space: axis -> value, without axes that are not in use there."""


@dataclass
class Search:
    """One search, read from its record."""

    settings: SweepConfig
    budget: BudgetConfig
    space: Space
    expander: Expander
    goals: list[Objective]
    _in_use: dict[tuple[tuple[str, str], ...], frozenset[str]] = field(default_factory=dict)

    @property
    def limit(self) -> float:
        """Trials in all."""
        if self.settings.trials is not None:
            return self.settings.trials
        return TRIALS if self.budget.gpu_hours is None else float("inf")

    @cached_property
    def rungs(self) -> tuple[int, ...]:
        """Steps at which trials pause, the full length last; () where they do not."""
        if self.settings.search != "asha":
            return ()
        full = self._first.method.max_steps
        assert full is not None, "check_search refuses a search without"
        return rungs(full, self.settings.min_steps, self.settings.eta)

    @cached_property
    def _first(self) -> RunConfig:
        return self.expander.resolve(typed(next(self.space.grid()))).config

    def resolve(self, values: Mapping[str, str | Number]) -> Resolved:
        """The run of a point. Raises ConfigProblems where a rule forbids it."""
        return self.expander.resolve(typed(values) | self._evaluations)

    @cached_property
    def _evaluations(self) -> Point:
        """What a trial that pauses at rungs is told besides: to evaluate at each, unless it does so anyway."""
        if not self.rungs:
            return {}
        evaluation, first = self._first.evaluation, self.rungs[0]
        if evaluation.interval is not None and first % evaluation.interval == 0:
            return {}
        per_epoch = {} if evaluation.per_epoch is None else {"evaluation.per_epoch": "null"}
        return per_epoch | {"evaluation.interval": str(first)}

    def in_use(self, chosen: Mapping[str, str]) -> frozenset[str]:
        """Axes that mean something beside the chosen options and categories. One of which a rule says that it has no
        effect there is not drawn: `adapter.r` beside adapter=full."""
        key = tuple(sorted(chosen.items()))
        if key not in self._in_use:
            self._in_use[key] = frozenset(axis.name for axis in self.space.axes) - self._unused(chosen)
        return self._in_use[key]

    def _unused(self, chosen: Mapping[str, str]) -> set[str]:
        """Each axis at two of its points, since one may be the default, which no rule minds."""
        found: set[str] = set()
        for end in (0, -1):
            rest = {axis.name: axis.points()[end] for axis in self.space.axes if axis.name not in chosen}
            try:
                warnings: tuple[Problem, ...] = self.expander.resolve(typed(rest | dict(chosen))).warnings
            except ConfigProblems as error:
                warnings = tuple(error.problems)
            found |= {problem.field for problem in warnings if problem.rule.endswith("unused")}
        return found - set(groups())

    def known_points(self) -> Iterator[Values]:
        """What is tried before anything is drawn: known good points, and of a grid_then_tpe search the grid."""
        for point in self.settings.points:
            yield {axis.name: value for axis in self.space.axes if (value := _place(axis, point)) is not None}
        if self.settings.search == "grid_then_tpe":
            yield from map(self.used, self.space.grid())

    def used(self, values: Mapping[str, str | Number]) -> Values:
        """A point without the axes that are not in use there."""
        chosen = {axis.name: str(values[axis.name]) for axis in self.space.axes if axis.choices and axis.name in values}
        in_use = self.in_use(chosen)
        return {name: value for name, value in values.items() if name in in_use}

    def excluded(self, values: Mapping[str, Any]) -> bool:
        """Whether sweep.exclude leaves a point out."""
        words = typed(values)
        return any(
            all(words.get(name) in _listed(value) for name, value in rule.items()) for rule in self.settings.exclude
        )


def read_search(record: Mapping[str, Any], config_dir: Path | None = None) -> Search:
    """The search of a sweep.json. Raises ConfigProblems where its words cannot be read any more."""
    settings = SweepConfig.model_validate(record["settings"])
    budget = BudgetConfig.model_validate(record.get("budget") or {})
    line = read_line(record["words"][-1])
    config_dir = config_dir or (Path(record["config_dir"]) if record.get("config_dir") else None)
    expander = Expander(line.fixed, Settings(settings, budget, ()), config_dir)
    return Search(settings, budget, read_space(axes_of(line, settings), config_dir), expander, objectives(record))


def check_search(record: Mapping[str, Any], config_dir: Path | None = None) -> list[Resolved]:
    """Judge a search before anything is submitted: its settings, every value of its axes beside the first ones of the
    others, its known points. Gives the runs of a few of its points. Raises ConfigProblems with every problem."""
    search = read_search(record, config_dir)
    problems = [*_settings(search), *_points(search)]
    found: dict[tuple[str, ...], Resolved] = {}
    for values in [*_samples(search.space), *search.settings.points]:
        point = {name: value for name, value in values.items() if isinstance(value, str | int | float)}
        try:
            resolved = search.expander.resolve(typed(search.used(_complete(search.space, point))))
            found[tuple(resolved.overrides)] = resolved
        except ConfigProblems as error:
            problems += [problem for problem in error.problems if not problem.warning]
    if search.settings.search == "asha":
        problems += _lengths(run.config for run in found.values())
    if problems:
        raise ConfigProblems(problems)
    return list(found.values())


def _settings(search: Search) -> Iterator[Problem]:
    settings, kind = search.settings, search.settings.search
    if not search.space.axes:
        yield Problem("sweep", f"nothing varies: give a field several values, as method.learning_rate="
                               f"'tag(log,interval(1e-5,1e-3))', beside sweep={kind}")  # fmt: skip
    for name in ("zip", "seeds"):
        if getattr(settings, name):
            yield Problem(f"sweep.{name}", f"sweep.{name} is of a grid, and sweep={kind} draws each value by itself: "
                                           "leave it out")  # fmt: skip
    if kind == "asha" and settings.objectives:
        yield Problem("sweep.objectives", "sweep=asha compares trials by one number: give sweep.metric=eval_loss, or "
                                          "use sweep=tpe for several objectives")  # fmt: skip
    if kind == "asha" and settings.metric != "eval_loss":
        yield Problem("sweep.metric", f"sweep.metric={settings.metric} is not known at a rung: sweep=asha goes by "
                                      "eval_loss")  # fmt: skip


def _lengths(configs: Iterator[RunConfig]) -> Iterator[Problem]:
    """asha compares trials at equal steps, and evaluates there."""
    seen = list(configs)
    if any(config.method.max_steps is None for config in seen):
        yield Problem("method.max_steps", "sweep=asha counts in steps: give the full length of a run as "
                                          "method.max_steps=N")  # fmt: skip
    elif len({config.method.max_steps for config in seen}) > 1:
        yield Problem(
            "method.max_steps", "sweep=asha compares trials of one full length: give method.max_steps one value"
        )
    if any(config.evaluation.max_rows == 0 for config in seen):
        yield Problem("evaluation.max_rows", "sweep=asha goes by the held-out loss: leave evaluation.max_rows=0 out")


def _points(search: Search) -> Iterator[Problem]:
    axes = {axis.name: axis for axis in search.space.axes}
    for number, point in enumerate(search.settings.points, 1):
        for name, value in point.items():
            if name not in axes:
                yield Problem("sweep.points", f"point {number}: {name} does not vary here; there is: {', '.join(axes)}")
            elif axes[name].place(value) is None:
                yield Problem(
                    "sweep.points", f"point {number}: {name}={value} is outside of what {name} is searched in"
                )


def _samples(space: Space) -> Iterator[dict[str, str | Number]]:
    """Each point of each axis beside the first ones of the others; and what decides weights and rows in every
    combination, since each of these is prepared."""
    first = {axis.name: axis.points()[0] for axis in space.axes}
    for axis in space.axes:
        for value in axis.points()[:50]:
            yield first | {axis.name: value}
    deciding = [axis for axis in space.axes if axis.name.partition(".")[0] in ("model", "data", "seed")]
    if len(deciding) > 1:
        for values in islice(product(*(axis.points()[:50] for axis in deciding)), MOST_PREPARED):
            yield first | dict(zip((axis.name for axis in deciding), values, strict=True))


def _complete(space: Space, values: Mapping[str, Any]) -> dict[str, str | Number]:
    """A point with the first value of each axis that it does not name."""
    return {axis.name: axis.points()[0] if (value := _place(axis, values)) is None else value for axis in space.axes}


def _place(axis: Any, point: Mapping[str, Any]) -> Any:
    return axis.place(point[axis.name]) if axis.name in point else None


def _listed(value: Any) -> list[str]:
    return [spelled(each) for each in (value if isinstance(value, list) else [value])]


def keep_options(sweep: SweepFolder) -> None:
    """Copy the user's own options into the sweep: what is edited later changes nothing for workers to come."""
    place, kept = sweep.sweep().get("config_dir"), sweep.path / _OPTIONS
    if place and not kept.is_dir():
        fresh = sweep.path / f".{_OPTIONS}.{os.getpid()}"
        shutil.rmtree(fresh, ignore_errors=True)
        for file in sorted(Path(place).glob("*/**/*.yaml")):
            (fresh / file.relative_to(place)).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            shutil.copyfile(file, fresh / file.relative_to(place))
        fresh.mkdir(exist_ok=True)
        os.rename(fresh, kept)


def kept_options(sweep: SweepFolder) -> Path | None:
    """The copy of the user's own options; None where there were none."""
    kept = sweep.path / _OPTIONS
    return kept if kept.is_dir() else None


def enter(record: Mapping[str, Any]) -> None:
    """Make this process read the words of a sweep as the login node did: from the folder where they were typed, with
    the same store."""
    if record.get("cwd") and os.path.isdir(record["cwd"]):
        os.chdir(record["cwd"])
    if record.get("store"):
        os.environ.setdefault("SLURMWRIGHT_STORE", record["store"])
