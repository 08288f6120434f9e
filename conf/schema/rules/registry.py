"""How a rule is written down: @rule(id, reads, reason) on a function that yields problems."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from conf.schema.problems import Problem
from conf.schema.run import RunConfig

Finding = tuple[str, str]
"""Field to change, and the sentence that says what is wrong and what to type."""


@dataclass(frozen=True)
class Rule:
    """One thing that must hold between fields."""

    id: str
    reads: tuple[str, ...]
    reason: str
    warning: bool
    findings: Callable[[RunConfig], Iterable[Finding]]

    def find(self, config: RunConfig) -> Iterator[Problem]:
        """The problems that this rule sees in a config."""
        for field, message in self.findings(config):
            yield Problem(field=field, message=message, rule=self.id, warning=self.warning)


RULES: dict[str, Rule] = {}


def rule(
    id: str, *, reads: tuple[str, ...], reason: str, warning: bool = False
) -> Callable[[Callable[[RunConfig], Iterable[Finding]]], Callable[[RunConfig], Iterable[Finding]]]:
    """Register a function as a rule."""

    def register(function: Callable[[RunConfig], Iterable[Finding]]) -> Callable[[RunConfig], Iterable[Finding]]:
        assert id not in RULES, f"two rules are called {id}"
        RULES[id] = Rule(id, reads, reason, warning, function)
        return function

    return register
