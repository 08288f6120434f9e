"""How a rule is written down: @rule(id, reads, reason, fix, fails) on a function that yields findings."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from conf.schema.problems import Problem
from conf.schema.run import RunConfig

Finding = tuple[str, str]
"""Field to change, and the sentence that says what is wrong and what to type."""
Findings = Callable[[RunConfig], Iterable[Finding]]


@dataclass(frozen=True)
class Rule:
    """One thing that must hold between fields."""

    id: str
    """Short name, printed with the problem."""
    reads: tuple[str, ...]
    """Dotted paths of the fields that it looks at."""
    reason: str
    """Why it must hold, in one line."""
    warning: bool
    """Whether the run may go on all the same."""
    fix: str
    """What to do in general, in one line."""
    fails: str
    """What fails, or goes wrong without a word, in the job that breaks it; empty for a warning."""
    findings: Findings

    def find(self, config: RunConfig) -> Iterator[Problem]:
        """The problems that this rule sees in a config."""
        for field, message in self.findings(config):
            yield Problem(field=field, message=message, rule=self.id, warning=self.warning)


RULES: dict[str, Rule] = {}
"""All rules by id. Rules of preference methods go into a module of their own here, with the methods."""


def rule(
    id: str, *, reads: tuple[str, ...], reason: str, fix: str, fails: str = "", warning: bool = False
) -> Callable[[Findings], Findings]:
    """Register a function as a rule. An error says what fails without it; a warning has nothing to say there."""

    def register(function: Findings) -> Findings:
        assert id not in RULES, f"two rules are called {id}"
        assert warning is (fails == ""), f"{id}: an error says what fails in the job, a warning does not"
        RULES[id] = Rule(id, reads, reason, warning, fix, fails, function)
        return function

    return register
