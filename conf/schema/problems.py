"""What can be wrong with what a person typed: one record a problem."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One mistake, or one warning, in words that say what to type."""

    field: str
    """Dotted path as a person types it, or the option group."""
    message: str
    """What is wrong with which value, what is allowed, and what to type."""
    rule: str = "schema"
    """Id of the rule that found it."""
    warning: bool = False
    """Whether the run may go on all the same."""


class ConfigProblems(Exception):
    """A command that cannot be carried out as typed. Holds every problem found, ordered by field."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(set(problems), key=lambda problem: (problem.field, problem.message))
        super().__init__("\n".join(f"{problem.field}: {problem.message}" for problem in self.problems))


def did_you_mean(word: str, valid: Iterable[str]) -> str:
    """A phrase that names the nearest valid words, or all of them where few; empty where there is nothing to say."""
    names = sorted(set(valid))
    near = difflib.get_close_matches(word, names, n=3, cutoff=0.55)
    if near:
        return "did you mean " + " or ".join(near) + "?"
    if len(names) <= 12:
        return "there is: " + ", ".join(names)
    return ""
