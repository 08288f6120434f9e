"""Verb `best`: the winner's command, printed or launched; with several objectives the front to choose from."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from launcher import submit
from launcher.arguments import Parser
from launcher.errors import InputError
from launcher.report import document, one_line, say
from launcher.resolve import resolve
from sweeps import words
from sweeps.folder import find_sweep
from sweeps.status import trial_record
from sweeps.table import Configuration, Table, read_table
from sweeps.trials import Trial


def main(argv: Sequence[str]) -> int:
    """`python -m sweeps best SWEEP [--trial N] [--apply] [--root DIR] [--json]`. Gives the exit code.

    Raises InputError where nothing can be ranked yet, or where several winners are left to choose from."""
    parser = Parser("best", "The command of the sweep's best configuration, by its mean over seeds.")
    parser.prog = "python -m sweeps best"
    parser.add_argument("sweep", metavar="SWEEP", help="sweep id or folder")
    parser.add_argument("--trial", type=int, metavar="N", help="that trial instead, as `status --json` numbers them")
    parser.add_argument("--apply", action="store_true", help="launch it, too; a run that is finished is only shown")
    arguments = parser.read(argv)
    table = read_table(find_sweep(arguments.sweep, arguments.root))
    winners = winning(table, arguments.trial)
    if not arguments.apply:
        _print(table, winners, arguments.json)
        return 0
    if len(winners) > 1:
        choices = ", ".join(str(trial.number) for _, trial in winners)
        raise InputError(
            f"{table.sweep.id} has several winners, none better in all objectives: --trial one of {choices}"
        )
    configuration, trial = winners[0]
    say(praise(table, configuration, trial))
    config_dir = _config_dir(table)
    return submit.launch(resolve(run_words(trial), config_dir), arguments.json)


def winning(table: Table, number: int | None = None) -> list[tuple[Configuration, Trial]]:
    """The best configuration with its best trial, or each of the Pareto front; with `number` that trial.

    The configuration is chosen by its mean over seeds. Its trial is one that exists already, the best by the first
    objective, so that its command leads to weights that are there. Raises InputError where there is none."""
    if number is not None:
        for configuration in table.configurations:
            for trial in configuration.trials:
                if trial.number == number:
                    return [(configuration, trial)]
        raise InputError(f"--trial {number}: {table.sweep.id} has trials 0 to {len(table.trials) - 1}")
    ranked = [each for each in table.configurations if each.rank is not None]
    if not ranked:
        stands = f"{table.sweep.id} ({words.headline(table)})"
        raise InputError(
            f"{stands} has no trial with {_metrics(table)} yet: `python -m sweeps status {words.typed(table.sweep)}`"
        )
    front = [each for each in ranked if each.front]
    return [(each, _best_trial(table, each)) for each in front or ranked[:1]]


def _metrics(table: Table) -> str:
    return " and ".join(goal.metric for goal in table.objectives)


def _best_trial(table: Table, configuration: Configuration) -> Trial:
    goal = table.objectives[0]
    counted = [trial for trial in configuration.trials if trial.completed] or configuration.trials
    known = [(goal.cost(value), trial) for trial in counted if (value := trial.metrics[goal.metric]) is not None]
    return min(known, key=lambda pair: (pair[0], pair[1].number))[1]


def run_words(trial: Trial) -> list[str]:
    """The canonical words of one trial's own command, as its folder keeps them.

    Raises InputError where the trial has not been frozen yet."""
    try:
        kept = yaml.load(trial.folder.overrides_file.read_bytes(), Loader=yaml.CSafeLoader) or []
    except FileNotFoundError:
        raise InputError(f"trial {trial.number} has no run folder yet: {trial.folder.path}") from None
    return [str(word) for word in kept if not str(word).startswith(("sweep=", "sweep."))]


def command(table: Table, trial: Trial) -> list[str]:
    """The whole command of a trial, word by word."""
    place = _config_dir(table)
    own = ["--config-dir", str(place)] if place is not None else []
    return ["python", "-m", "launcher", *own, *run_words(trial)]


def _config_dir(table: Table) -> Path | None:
    kept = table.record.get("config_dir")
    return Path(kept) if kept else None


def _print(table: Table, winners: list[tuple[Configuration, Trial]], json: bool) -> None:
    if json:
        document({"sweep_id": table.sweep.id, "winners": [_record(table, *winner) for winner in winners]})
        return
    for configuration, trial in winners:
        say(praise(table, configuration, trial))
        print(one_line(shlex.join(command(table, trial))))


def _record(table: Table, configuration: Configuration, trial: Trial) -> dict[str, Any]:
    spreads = {
        name: None if spread is None else {"mean": spread.mean, "std": spread.std, "n": spread.n}
        for name, spread in configuration.spreads.items()
    }
    told = {"rank": configuration.rank, "front": configuration.front, "values": configuration.values}
    return told | {"metrics": spreads, "trial": trial_record(trial), "command": command(table, trial)}


def praise(table: Table, configuration: Configuration, trial: Trial) -> str:
    """Why this one, in a line."""
    what = ", ".join(f"{name}={words.value(value)}" for name, value in configuration.values.items()) or "the base"
    numbers = []
    for goal in table.objectives:
        spread = configuration.spreads[goal.metric]
        if spread is not None:
            numbers.append(
                f"{goal.metric} {words.spread(spread)}" + (f" over {spread.n} seeds" if spread.n > 1 else "")
            )
    missing = len(configuration.trials) - configuration.completed
    caution = ""
    if not configuration.completed:
        caution = f"; no trial of it has completed: step {words.steps(configuration)}"
    elif missing:
        caution = f"; {missing} of its {len(configuration.trials)} trials have not completed"
    return f"{what}: {', '.join(numbers) or 'no number yet'}{caution}; trial {trial.number}, {trial.folder.path}"
