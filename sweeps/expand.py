"""From a combination to a checked run: options are composed once a combination of them, fields are set in plain trees.

The same words mean the same run as on a line of their own.
"""

import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from conf.schema.fields import annotation_at, steps_to
from conf.schema.problems import ConfigProblems, Problem
from conf.schema.run import RunConfig
from conf.schema.sweep import BudgetConfig, ScaledField, SweepConfig
from launcher.options import is_file
from launcher.overrides import Checked, Value, check, check_word, join
from launcher.resolve import Resolved, compose_known, judge, lines, places, set_values
from launcher.validate import Places, validate
from sweeps.axes import Line, Point, values_of

OF_THE_SWEEP = ("sweep", "budget")
"""Groups that say what the sweep does and are no part of its runs."""


def is_of_the_sweep(word: str) -> bool:
    """Whether a word is about the sweep alone."""
    return word.partition("=")[0].strip().lstrip("+~").partition(".")[0] in OF_THE_SWEEP


@dataclass(frozen=True)
class Settings:
    """What a command says of the sweep itself."""

    sweep: SweepConfig
    budget: BudgetConfig
    canonical: tuple[str, ...]
    """The words that say it."""


def read_settings(line: Line, config_dir: Path | None) -> Settings:
    """The settings of a line: typed, or of its layers. Raises ConfigProblems with what is wrong with them alone."""
    checked = check([*line.fixed, *_firsts(line, config_dir)], config_dir)
    tree, choices = compose_known(checked, config_dir)
    set_values(tree, checked.values)
    composed, refused = validate(tree, places(checked, lines(choices, config_dir)))
    found = [problem for problem in (*checked.problems, *refused) if is_of_the_sweep(problem.field)]
    if found:
        raise ConfigProblems(found)
    words = tuple(word for word in checked.canonical if is_of_the_sweep(word))
    return Settings(composed.sweep, composed.budget, words)


def _firsts(line: Line, config_dir: Path | None) -> Iterable[str]:
    """The first option of each group that varies, so that the rest can be composed."""
    for key, text in line.swept.items():
        values = values_of(key, text, config_dir)
        if not isinstance(values, Problem) and values:
            yield f"{key}={values[0]}"


@dataclass(frozen=True)
class _Composed:
    """One combination of options."""

    tree: bytes
    """Its tree of values, pickled."""
    probe: Checked
    """What is wrong with it."""
    lines: Places
    """Where its values were written."""


class Expander:
    """Resolves the combinations of one sweep."""

    def __init__(self, words: Sequence[str], settings: Settings, config_dir: Path | None) -> None:
        """`words` are those of the line that give one value."""
        self.config_dir = config_dir
        self.scale = settings.sweep.scale
        self.fixed = check([word for word in words if not is_of_the_sweep(word)], config_dir)
        self._words: dict[str, Checked] = {}
        self._composed: dict[tuple[tuple[str, str], ...], _Composed] = {}

    def resolve(self, point: Point) -> Resolved:
        """The run of a combination. Raises ConfigProblems with everything that is wrong with it."""
        checked = join([self.fixed, *(self._word(f"{key}={text}") for key, text in point.items())])
        composed = self._compose(checked)
        checked.problems += composed.probe.problems
        checked.invalid |= composed.probe.invalid
        tree = pickle.loads(composed.tree)  # noqa: S301  (made here a moment ago; many times as quick as a copy)
        set_values(tree, checked.values)
        self._follow(tree, checked)
        own = self.config_dir is not None or is_file("recipe", checked.choices.get("recipe", ""))
        return judge(tree, checked, places(checked, composed.lines), own)

    def _word(self, word: str) -> Checked:
        if word not in self._words:
            self._words[word] = check_word(word, self.config_dir)
        return self._words[word]

    def _compose(self, checked: Checked) -> _Composed:
        """The chosen options, composed once a combination of them."""
        key = (*checked.choices.items(), *((name, "") for name in sorted(checked.invalid)))
        if key not in self._composed:
            probe = Checked(choices=dict(checked.choices), invalid=set(checked.invalid))
            tree, choices = compose_known(probe, self.config_dir)
            defaults = RunConfig().dump()
            tree |= {group: defaults[group] for group in OF_THE_SWEEP}
            self._composed[key] = _Composed(pickle.dumps(tree), probe, lines(choices, self.config_dir))
        return self._composed[key]

    def _follow(self, tree: dict[str, Any], checked: Checked) -> None:
        """Set the fields that follow others, unless they were given themselves."""
        given = {value.path for value in checked.values}
        for item in self.scale:
            if item.field in given:
                continue
            value = _scaled(item, tree)
            if isinstance(value, Problem):
                checked.problems.append(value)
            if not isinstance(value, float | int):
                continue
            set_values(tree, [Value(item.field, value)])
            checked.values.append(Value(item.field, value))
            checked.canonical.append(f"{item.field}={value}")


def _scaled(item: ScaledField, tree: dict[str, Any]) -> float | int | Problem | None:
    """The value of a field that follows another, to six digits; None where that one's value is wrong by itself."""
    numbers = []
    for path, value in ((item.by, None), (item.field, item.value)):
        try:
            annotation_at(path)
            found = _at(tree, path) if value is None else value
        except KeyError:
            return Problem("sweep.scale", f"{path} is no field: name one as adapter.r")
        if isinstance(found, bool) or not isinstance(found, int | float):
            more = " or give it as `value` there" if path == item.field else ""
            said = f"{item.field} follows {item.by}, and {path} is not set: set it{more}"
            return Problem("sweep.scale", said) if found is None else None
        numbers.append(float(found))
    by, base = numbers
    if by <= 0:
        return None
    scaled = float(f"{base * (by / item.at) ** item.power:.6g}")
    whole = annotation_at(item.field) is int or isinstance(_at(tree, item.field), int)
    return max(1, round(scaled)) if whole else scaled


def _at(tree: dict[str, Any], path: str) -> Any:
    node: Any = tree
    for part in steps_to(path):
        node = node[part]
    return node


def resolve_all(expander: Expander, found: Sequence[Point]) -> tuple[list[Resolved], list[Problem]]:
    """The runs of all combinations, and one report on everything that is wrong with any of them: each problem once,
    with the trials that have it. Runs are complete only where no problem but warnings is left."""
    runs: list[Resolved] = []
    seen: dict[Problem, list[int]] = {}
    for number, point in enumerate(found):
        try:
            run = expander.resolve(point)
        except ConfigProblems as error:
            told: Iterable[Problem] = error.problems
        else:
            runs.append(run)
            told = run.warnings
        for problem in set(told):
            seen.setdefault(problem, []).append(number)
    return runs, [_told(problem, numbers, found) for problem, numbers in seen.items()]


def _told(problem: Problem, numbers: list[int], found: Sequence[Point]) -> Problem:
    """A problem with how many of the trials have it, and what one of them is."""
    if len(numbers) == len(found):
        return problem
    example = " ".join(f"{key}={text}" for key, text in found[numbers[0]].items())
    which = f"in {len(numbers)} of {len(found)} trials, as {example}" if len(numbers) > 1 else f"with {example}"
    return replace(problem, message=f"{problem.message} [{which}]")
