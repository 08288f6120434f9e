"""More trials for a search: `python -m sweeps extend SWEEP sweep.trials=N`, which also brings back lost workers."""

from collections.abc import Sequence
from typing import Any

from conf.schema.problems import ConfigProblems, Problem
from conf.schema.sweep import BudgetConfig, SweepConfig
from launcher import report
from launcher.overrides import check
from sweeps.folder import SweepFolder
from sweeps.search import check_search, enter, kept_options
from sweeps.study import Study
from sweeps.submit import locked

ALLOWED = ("sweep.trials", "sweep.parallel", "budget.gpu_hours")
"""What may be given; a space is of one search for good."""


def extend(sweep: SweepFolder, words: Sequence[str]) -> int:
    """Raise what limits a search, and start as many workers as are missing. Gives the exit code.

    Raises ConfigProblems for any other word, and for a limit below what was used."""
    with locked(sweep):
        record = sweep.sweep()
        enter(record)
        changed = _changed(sweep, record, words)
        samples = check_search(changed, kept_options(sweep))
        sweep.write_sweep(changed)
        study = Study(sweep)
        study.end("")
        if samples[0].config.cluster.kind == "slurm":
            from sweeps.workers import submit_workers

            jobs = submit_workers(sweep, samples, SweepConfig.model_validate(changed["settings"]).parallel or 1)
            report.say(f"{sweep.id}: workers of {', '.join(jobs) if jobs else 'before'} go on")
            return 0
    from sweeps.worker import work

    return work(sweep)


def _changed(sweep: SweepFolder, record: dict[str, Any], words: Sequence[str]) -> dict[str, Any]:
    checked = check(words)
    problems = list(checked.problems)
    for value in checked.values:
        if value.path not in ALLOWED:
            message = f"{value.path} is fixed once a search has begun: `extend` takes {', '.join(ALLOWED)}"
            problems.append(Problem(value.path, message))
    if checked.choices:
        problems += [Problem(group, f"{group} is fixed once a search has begun") for group in checked.choices]
    if problems:
        raise ConfigProblems(problems)
    parts = {"sweep": dict(record["settings"]), "budget": dict(record.get("budget") or {})}
    for value in checked.values:
        group, _, name = value.path.partition(".")
        parts[group][name] = value.value
    trials = parts["sweep"].get("trials")
    begun = len(sweep.trials())
    if isinstance(trials, int) and trials < begun:
        raise ConfigProblems([Problem("sweep.trials", f"sweep.trials={trials}, but {begun} have begun: give more")])
    settings, budget = _validated(parts)
    words = [*record["words"][-1], *checked.canonical]
    return record | {"settings": settings, "budget": budget, "words": [*record["words"], words]}


def _validated(parts: dict[str, dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both groups, whole. Raises ConfigProblems where a value is of the wrong kind."""
    from pydantic import ValidationError

    found = []
    for name, model in (("sweep", SweepConfig), ("budget", BudgetConfig)):
        try:
            found.append(model.model_validate(parts[name]).model_dump(mode="json"))
        except ValidationError as error:
            raise ConfigProblems(
                Problem(f"{name}.{each['loc'][0]}", f"{name}.{each['loc'][0]}={each['input']}: {each['msg'].lower()}")
                for each in error.errors()
            ) from None
    return found[0], found[1]
