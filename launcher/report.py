"""How the launcher speaks: problems in words, JSON documents for programs. What people typed stays inert."""

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from conf.schema.problems import Problem


def inert(text: str) -> str:
    """Text that cannot steer a terminal: control characters are shown as escapes, line ends kept."""
    return "".join(char if char == "\n" or char.isprintable() else ascii(char)[1:-1] for char in text)


def one_line(text: str) -> str:
    """Text on one line, inert."""
    return inert(text.replace("\n", "\\n"))


def say(text: str) -> None:
    """A line for people, on stderr: stdout is for what was asked for."""
    print(inert(text), file=sys.stderr, flush=True)


def document(value: Mapping[str, Any]) -> None:
    """The one JSON document of a command, on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False), flush=True)


def records(problems: Iterable[Problem]) -> list[dict[str, str]]:
    """Problems as JSON has them."""
    return [{"rule": problem.rule, "field": problem.field, "message": problem.message} for problem in problems]


def print_problems(problems: Iterable[Problem], file: TextIO | None = None) -> None:
    """All problems ordered by field, then all warnings."""
    out = file or sys.stderr
    listed = list(problems)
    errors = [problem for problem in listed if not problem.warning]
    _print_list("problem", errors, out)
    print_warnings([problem for problem in listed if problem.warning], out)
    out.flush()


def print_warnings(warnings: Iterable[Problem], file: TextIO | None = None) -> None:
    """Warnings, nothing where there are none."""
    _print_list("warning", list(warnings), file or sys.stderr)


def _print_list(what: str, problems: list[Problem], out: TextIO) -> None:
    if problems:
        print(f"{len(problems)} {what}{'s' if len(problems) > 1 else ''}:", file=out)
        width = min(max(len(problem.field) for problem in problems), 32)
        for problem in problems:
            print(f"  {one_line(problem.field):{width}}  {one_line(problem.message)}", file=out)


def human(count: int) -> str:
    """A count in three digits: 134.5 M."""
    for unit, size in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return str(count)
