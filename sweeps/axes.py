"""What varies in a sweep: the words of the line that give several values, and the lists of its settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Glob, Override

from conf.schema.fields import annotation_at, fields, nearest
from conf.schema.problems import Problem
from conf.schema.sweep import SweepConfig
from launcher.grammar import is_sweep, parse, quoted
from launcher.options import groups, options

ONE_RUN = {
    "name": "runs of a sweep are named by what they are: leave name out, and call the sweep by sweep.name=NAME",
    "run.root": "the runs of a sweep lie beside it: give one run.root",
    "hydra": "Hydra's own job settings have no effect here",
}
"""Fields that cannot vary, and why."""
Point = dict[str, str]
"""One combination: field or group -> its value as it is typed."""


@dataclass(frozen=True)
class Line:
    """The words of a command, apart by whether they give one value or several."""

    fixed: tuple[str, ...]
    swept: dict[str, str]
    """Field or group -> its values as typed."""
    problems: tuple[Problem, ...] = ()


def read_line(words: Sequence[str]) -> Line:
    """Take the words apart. A key that is typed twice, or cannot vary, is a problem."""
    fixed: list[str] = []
    swept: dict[str, str] = {}
    problems: list[Problem] = []
    for word in words:
        key, equals, raw = word.partition("=")
        key = key.strip().lstrip("+")
        if not equals or key.startswith("~") or not is_sweep(parse(f"{key}={raw}")):
            fixed.append(word)
        elif key in swept:
            problems.append(Problem(key, f"{key} is given twice: keep one of {key}={swept[key]} and {word}"))
        else:
            swept[key] = raw
    names = [word.partition("=")[0].strip().lstrip("+") for word in fixed]
    for key in [key for key in swept if key in names]:
        problems.append(Problem(key, f"{key} is given twice, once with several values: keep one"))
        del swept[key]
    if "name" in names:
        problems.append(Problem("name", ONE_RUN["name"]))
    return Line(tuple(fixed), swept, tuple(problems))


def axes_of(line: Line, settings: SweepConfig) -> dict[str, str]:
    """Everything that varies by itself: the lists of the settings, and over them what was typed."""
    typed = {word.partition("=")[0].strip().lstrip("+") for word in line.fixed}
    listed = {key: _text(value) for key, value in settings.axes.items() if key not in typed}
    return listed | line.swept


def check_key(key: str) -> Problem | None:
    """The problem of a key that is no field or group, or cannot vary."""
    if key in ONE_RUN:
        return Problem(key, f"{key}: {ONE_RUN[key]}")
    if key.partition(".")[0] in ("sweep", "budget"):
        return Problem(key, f"{key} holds for the sweep as a whole: give it one value; a list is written in brackets")
    if key in groups():
        return None
    try:
        annotation_at(key)
    except KeyError:
        return Problem(key, f"{key} is no field or option group; {nearest(key, groups()) or 'see conf/schema'}")
    return None


def values_of(key: str, text: str, config_dir: Path | None) -> list[str] | Problem:
    """The values that a text of Hydra's multirun grammar names, each as it is typed; or what is wrong with it."""
    wrong = check_key(key)
    if wrong is not None:
        return wrong
    parsed = parse(f"{key}={text}")
    if not isinstance(parsed, Override) or not parsed.is_sweep_override():
        return [text]
    if isinstance(parsed.value(), Glob):
        return _matching(key, text, parsed, config_dir)
    if not parsed.is_discrete_sweep():
        return Problem(key, f"{key}={text} names no values: a grid takes lists and ranges, as {key}=1,2,4; to search "
                            "in an interval add sweep=tpe")  # fmt: skip
    batches = BasicSweeper.split_arguments([parsed], None)
    return [words[0].partition("=")[2] for batch in batches for words in batch]


def _matching(key: str, text: str, parsed: Override, config_dir: Path | None) -> list[str] | Problem:
    if key not in groups():
        return Problem(key, f"{key}={text}: glob() picks options of a group, and {key} is a field: list its values")
    found: list[str] = parsed.value().filter(options(key, config_dir))
    return found or Problem(key, f"{key}={text} matches no option; `python -m launcher catalogue {key}` lists them")


def _text(value: list[Any] | str) -> str:
    """An axis of the settings as it would be typed. A list of one is one value."""
    return value if isinstance(value, str) else ",".join(map(spelled, value))


def spelled(value: Any) -> str:
    """A value as Hydra's grammar takes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ",".join(map(spelled, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{spelled(each)}" for key, each in value.items()) + "}"
    if isinstance(value, str) and (not value.replace("_", "").replace("-", "").isalnum() or _reads_otherwise(value)):
        return quoted(value)
    return str(value)


def _reads_otherwise(text: str) -> bool:
    """Whether Hydra's grammar makes something else than this text of it."""
    parsed = parse(f"x={text}")
    return not isinstance(parsed, Override) or parsed.is_sweep_override() or parsed.value() != text


def value_of(key: str, text: str) -> Any:
    """A value as typed in plain Python: a number, a text, a list."""
    parsed = parse(f"{key}={text}")
    if not isinstance(parsed, Override) or parsed.is_sweep_override():
        return text
    value = parsed.value()
    return text if key in groups() and not isinstance(value, str) else value


def is_field(key: str) -> bool:
    """Whether a key is a field of a run, not an option group alone."""
    return key in fields()
