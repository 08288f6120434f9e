"""The trials of a sweep as a ranked table of configurations, with their spread over seeds."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sweeps.folder import SweepFolder
from sweeps.ranking import Objective, Spread, beaten_by, objectives
from sweeps.trials import FAILED, Trial, read_trials


@dataclass(frozen=True)
class Configuration:
    """Trials that differ by their seeds alone."""

    group: int
    trials: list[Trial]
    values: dict[str, Any]
    """What the sweep varies, but for the seed where its trials differ in it."""
    spreads: dict[str, Spread | None]
    """Each objective over the completed trials; where none has completed, over all that have a number."""
    rank: int | None = None
    """1 for the best; None where there is no number to rank by."""
    front: bool = False
    """With several objectives: whether no other configuration beats it in all of them."""

    @property
    def completed(self) -> int:
        """How many of its trials were trained to their ends."""
        return sum(trial.completed for trial in self.trials)

    @property
    def gpu_hours(self) -> float:
        """Device-hours over all its trials and their attempts."""
        return sum(trial.gpu_hours for trial in self.trials)

    def states(self) -> Counter[str]:
        """How many of its trials are in which state."""
        return Counter(trial.state for trial in self.trials)


@dataclass(frozen=True)
class Table:
    """A sweep at one moment."""

    sweep: SweepFolder
    record: dict[str, Any]
    """sweep.json."""
    objectives: list[Objective]
    trials: list[Trial]
    """In order of their numbers."""
    configurations: list[Configuration]
    """Best first, then those that cannot be ranked, in order of their numbers."""
    complaint: str | None = None
    """Why Slurm could not be asked."""
    parameters: list[str] = field(default_factory=list)
    """Names of what is varied, in the order in which trials name them."""

    def states(self) -> Counter[str]:
        """How many trials are in which state."""
        return Counter(trial.state for trial in self.trials)

    def failed(self) -> list[Trial]:
        """Trials that failed, in order of their numbers."""
        return [trial for trial in self.trials if trial.state in FAILED]


def failed_trials(sweep: SweepFolder) -> list[Trial]:
    """The trials of a sweep that failed or are gone without a word, with their causes."""
    return read_table(sweep).failed()


def read_table(sweep: SweepFolder) -> Table:
    """The table of a sweep, with one question to Slurm for all its trials."""
    record = sweep.sweep()
    goals = objectives(record)
    trials, complaint = read_trials(sweep, goals)
    parameters = list(dict.fromkeys(name for trial in trials for name in trial.values))
    return Table(sweep, record, goals, trials, rank(configurations(trials, goals), goals), complaint, parameters)


def configurations(trials: Sequence[Trial], goals: Sequence[Objective]) -> list[Configuration]:
    """Trials put together by their configuration, in order of first appearance."""
    groups: dict[int, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.group, []).append(trial)
    return [
        Configuration(group, members, _shared(members), {goal.metric: _spread(members, goal) for goal in goals})
        for group, members in groups.items()
    ]


def _shared(members: list[Trial]) -> dict[str, Any]:
    first = members[0].values
    return {name: value for name, value in first.items() if all(each.values.get(name) == value for each in members)}


def _spread(members: list[Trial], goal: Objective) -> Spread | None:
    counted = [trial for trial in members if trial.completed] or members
    return Spread.of([value for trial in counted if (value := trial.metrics[goal.metric]) is not None])


def rank(found: list[Configuration], goals: Sequence[Objective]) -> list[Configuration]:
    """Configurations best first: those with a completed trial by their mean, then those with any number, then the rest.

    With several objectives by how many others beat them in all, then by the first objective."""
    whole = [each for each in found if each.completed and _costs(each, goals)]
    partial = [each for each in found if not each.completed and _costs(each, goals)]
    rest = [each for each in found if not _costs(each, goals)]
    ordered: list[Configuration] = []
    for tier in (whole, partial):
        costs = [_costs(each, goals) or [] for each in tier]
        beaten = beaten_by(costs) if len(goals) > 1 else [0] * len(tier)
        order = sorted(range(len(tier)), key=lambda index: (beaten[index], costs[index], tier[index].group))
        for index in order:
            front = len(goals) > 1 and tier is whole and beaten[index] == 0
            ordered.append(replace(tier[index], rank=len(ordered) + 1, front=front))
    return ordered + rest


def _costs(each: Configuration, goals: Sequence[Objective]) -> list[float] | None:
    spreads = [(goal, each.spreads[goal.metric]) for goal in goals]
    found = [goal.cost(spread.mean) for goal, spread in spreads if spread is not None]
    return found if len(found) == len(goals) else None
