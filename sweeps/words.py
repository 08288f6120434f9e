"""How results read: numbers, values, states and commands, the same in the terminal and in the report."""

import shlex
from collections import Counter
from pathlib import Path
from typing import Any

from conf.schema.operations import RunPlace
from sweeps.folder import SweepFolder
from sweeps.ranking import Spread
from sweeps.table import Configuration, Table
from sweeps.trials import FAILED, WAITING

ORDER = ("running", "completed", "pruned", "stopped", "queued", WAITING, "interrupted", "cancelled", *FAILED)
"""States in the order in which they are counted up."""


def value(given: Any) -> str:
    """A value as a person types it."""
    if given is None:
        return "null"
    if isinstance(given, bool):
        return str(given).lower()
    if isinstance(given, float):
        return f"{given:.4g}"
    if isinstance(given, list | tuple):
        return "[" + ",".join(value(each) for each in given) + "]"
    return str(given)


def headings(names: list[str], short: bool) -> list[str]:
    """Headings of parameters; `short` takes the last word of a field where no other ends in it."""
    lasts = [name.rpartition(".")[2] for name in names]
    return [last if short and lasts.count(last) == 1 else name for name, last in zip(names, lasts, strict=True)]


def measured(number: float | None) -> str:
    """A measured number: four places for losses, whole ones for rates; empty where it is not known."""
    if number is None:
        return ""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4f}" if abs(number) >= 0.001 else f"{number:.3g}"


def first(complaint: str | None) -> str | None:
    """The first thing that Slurm's programs said, of what is often a list."""
    return None if complaint is None else complaint.partition(";")[0]


def spread(given: Spread | None) -> str:
    """Mean and standard deviation."""
    if given is None:
        return ""
    return measured(given.mean) + (f" ± {measured(given.std) if given.std else '0'}" if given.std is not None else "")


def hours(given: float) -> str:
    """Device-hours in three digits."""
    return f"{given:,.0f}" if given >= 100 else f"{given:.3g}"


def counted(states: Counter[str], one: bool = False) -> str:
    """`8 completed, 1 failed`; with `one`, a state that all share is said without its number."""
    known = [name for name in ORDER if states[name]] + [name for name in states if name not in ORDER]
    if one and states.total() == 1:
        return known[0]
    return ", ".join(f"{states[name]} {name}" for name in known)


def steps(configuration: Configuration) -> str:
    """Steps made and in all: `50/100`, of several trials the least and the most."""
    made = sorted({trial.step for trial in configuration.trials})
    most = max((trial.steps or 0 for trial in configuration.trials), default=0)
    return (f"{made[0]}-{made[-1]}" if len(made) > 1 else str(made[0])) + (f"/{most}" if most else "")


def typed(sweep: SweepFolder) -> str:
    """The sweep as it is typed in a command: its id under the default run root, else its path."""
    under_default = sweep.path.parent == Path(RunPlace().root).absolute()
    return sweep.id if under_default else shlex.quote(str(sweep.path))


def headline(table: Table) -> str:
    """What a sweep is and how it stands, in a line."""
    kind, trials, configurations = table.record.get("kind", "grid"), len(table.trials), len(table.configurations)
    if not trials:
        return f"{kind} without trials yet"
    of = f" of {configurations} configurations" if configurations != trials else ""
    took = sum(trial.gpu_hours for trial in table.trials)
    return f"{kind}, {trials} trial{'s' if trials > 1 else ''}{of}: {counted(table.states())}; {hours(took)} GPU-hours"


def next_commands(table: Table) -> list[tuple[str, str]]:
    """What a person may want to type next: command and why."""
    states, name = table.states(), typed(table.sweep)
    found = []
    again = sum(states[state] for state in (*FAILED, "interrupted", "cancelled"))
    if again:
        found.append((f"python -m sweeps retry {name}", f"submit {again} trial{'s' if again > 1 else ''} again"))
    if states[WAITING]:
        found.append((f"python -m sweeps continue {name}", f"submit the {states[WAITING]} that wait"))
    if any(configuration.rank for configuration in table.configurations):
        found.append((f"python -m sweeps best {name}", "the winner's command"))
        found.append((f"python -m sweeps report {name}", "a page with plots"))
    return found
