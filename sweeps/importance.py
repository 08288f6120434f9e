"""How much each varied parameter matters to a metric."""

import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from sweeps.ranking import Objective
from sweeps.table import Table

LEAST = 4
"""Trials with a number below which nothing is said of importance."""


@dataclass(frozen=True)
class Importance:
    """Shares of parameters, largest first, and how they were found."""

    shares: dict[str, float]
    how: str
    """In words, for the page."""


def importance(table: Table, goal: Objective) -> Importance | None:
    """The shares of the parameters in a metric; None where too few trials or no second value are there.

    For a search Optuna's PED-ANOVA (Watanabe et al., 2023), since its trials do not lie evenly in the space; for a grid
    the share of variance that lies between a parameter's values (`explained`)."""
    counted = [trial for trial in table.trials if trial.state in ("completed", "pruned")]
    points = [(trial.values, value) for trial in counted if (value := trial.metrics[goal.metric]) is not None]
    varied = [name for name in table.parameters if len({repr(values.get(name)) for values, _ in points}) > 1]
    if len(points) < LEAST or not varied:
        return None
    if table.record.get("kind") == "search":
        return Importance(_sorted(_ped_anova(points, varied, goal)), "PED-ANOVA over completed and pruned trials")
    shares = {name: share for name in varied if (share := explained(points, name)) is not None}
    how = "Share of variance that the means of its values explain, chance taken off; interactions are left out"
    return Importance(_sorted(shares), how) if shares else None


def explained(points: list[tuple[dict[str, Any], float]], name: str) -> float | None:
    """Share of the variance that lies between the values of one parameter, 0 to 1, corrected for what chance alone
    puts there (epsilon squared, Kelley 1935). None where no value occurs twice: nothing can be told then."""
    groups: dict[str, list[float]] = defaultdict(list)
    for values, value in points:
        groups[repr(values.get(name))].append(value)
    if len(groups) == len(points):
        return None
    total = statistics.variance([value for _, value in points])
    within = sum((value - statistics.fmean(each)) ** 2 for each in groups.values() for value in each)
    if total == 0:
        return 0.0
    return max(1 - within / (len(points) - len(groups)) / total, 0.0)


def _ped_anova(points: list[tuple[dict[str, Any], float]], varied: list[str], goal: Objective) -> dict[str, float]:
    """Optuna judges trials that share all parameters; one that a trial lacks becomes a choice of its own."""
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    distributions = {name: _distribution([values.get(name) for values, _ in points]) for name in varied}
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction=goal.direction)
        for values, value in points:
            given = {name: _given(values.get(name), distributions[name]) for name in varied}
            study.add_trial(optuna.trial.create_trial(params=given, distributions=distributions, value=value))
        return dict(get_param_importances(study, evaluator=PedAnovaImportanceEvaluator()))
    finally:
        optuna.logging.set_verbosity(verbosity)


def _distribution(values: list[Any]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        low, high = float(min(values)), float(max(values))
        return FloatDistribution(low, high, log=low > 0 and high / low > 20)
    return CategoricalDistribution(sorted({repr(value) for value in values}))


def _given(value: Any, distribution: Any) -> Any:
    return repr(value) if hasattr(distribution, "choices") else float(value)


def _sorted(shares: dict[str, float]) -> dict[str, float]:
    return dict(sorted(shares.items(), key=lambda pair: (-pair[1], pair[0])))
