"""The page of a sweep: report.html, and beside it the tables for other programs."""

import shlex
from pathlib import Path
from typing import Any
from urllib.parse import quote

from launcher.errors import InputError
from launcher.report import one_line
from sweeps import best, exports, figures, hparams, page, words
from sweeps.importance import importance
from sweeps.parallel import MOST_LINES, parallel_coordinates
from sweeps.table import Configuration, Table
from sweeps.trials import Trial

PAGE = "report.html"


def write(table: Table) -> Path:
    """Write a sweep's report folder; gives the page. Whatever state the sweep is in, the page says it.

    Raises OSError where the folder cannot be written."""
    folder = table.sweep.report
    folder.mkdir(mode=0o700, exist_ok=True)
    exports.write(table, folder)
    hparams.write(table, folder / "tensorboard")
    plots, headings = _plots(table)
    page.write(folder / PAGE, "sweep.html.j2", table.sweep.id, plots, _context(table) | headings)
    return folder / PAGE


def _plots(table: Table) -> tuple[dict[str, figures.Figure | None], dict[str, Any]]:
    """All figures, and the headings of those of which there is one for each objective."""
    goals = table.objectives
    found: dict[str, figures.Figure | None] = {
        "eval_curves": figures.learning_curves(table, "eval_loss", "held-out loss"),
        "train_curves": figures.learning_curves(table, "loss", "training loss"),
        "parallel": parallel_coordinates(table),
    }
    if len(goals) > 1:
        found["front"] = figures.against(table, goals[0], goals[1])
    matters, against = [], []
    for index, goal in enumerate(goals):
        shares = importance(table, goal)
        if shares is not None:
            found[f"importance{index}"] = figures.importances(shares)
            matters.append((f"importance{index}", goal.metric, f"{shares.how}."))
        found[f"hours{index}"] = figures.against_hours(table, goal)
        against.append((f"hours{index}", goal.metric))
    return found, {"importance": matters, "against": against}


def _context(table: Table) -> dict[str, Any]:
    winners = _winners(table)
    winning = {configuration.group for configuration, _ in winners}
    parameters = [name for name in table.parameters if any(name in each.values for each in table.configurations)]
    return {
        "headline": words.headline(table),
        "complaint": words.first(table.complaint),
        "tiles": _tiles(table),
        "winners": [
            {"why": best.praise(table, *winner), "command": shlex.join(best.command(table, winner[1]))}
            for winner in winners
        ],
        "parameters": parameters,
        "metrics": [goal.metric for goal in table.objectives],
        "repeated": any(len(each.trials) > 1 for each in table.configurations),
        "several": len(table.objectives) > 1,
        "rows": [_row(each, parameters, each.group in winning) for each in table.configurations],
        "failures": [_failure(trial) for trial in table.failed()],
        "next": words.next_commands(table),
        "curves_note": "Coloured by rank, the best in blue, the last in orange." + _of_all(table, figures.MOST_CURVES),
        "lines_note": "One line a trial, the best in blue, the last in orange." + _of_all(table, MOST_LINES),
        "commands": [shlex.join(["python", "-m", "launcher", "-m", *line]) for line in table.record.get("words", [])],
    }


def _of_all(table: Table, most: int) -> str:
    return f" The {most} best of {len(table.trials)} trials." if len(table.trials) > most else ""


def _winners(table: Table) -> list[tuple[Configuration, Trial]]:
    try:
        winners = best.winning(table)
        for _, trial in winners:
            best.run_words(trial)
    except InputError:
        return []  # nothing is ranked yet
    return winners


def _tiles(table: Table) -> list[tuple[str, str]]:
    completed = sum(trial.completed for trial in table.trials)
    tiles = [("trials completed", f"{completed} of {len(table.trials)}")]
    for goal in table.objectives:
        known = [(goal.cost(spread.mean), spread) for each in table.configurations
                 if (spread := each.spreads[goal.metric]) is not None and each.completed]  # fmt: skip
        shown = words.measured(min(known, key=lambda pair: pair[0])[1].mean) if known else "none yet"
        tiles.append((f"best {goal.metric}", shown))
    tiles.append(("GPU-hours held", words.hours(sum(trial.gpu_hours for trial in table.trials))))
    tiles.append(("attempts", str(sum(trial.attempts for trial in table.trials))))
    return [*tiles, ("failed", str(len(table.failed())))]


def _row(each: Configuration, parameters: list[str], winner: bool) -> dict[str, Any]:
    spreads = list(each.spreads.values())
    states = each.states()
    return {
        "rank": each.rank or "",
        "front": each.front,
        "winner": winner,
        "cells": [one_line(words.value(each.values[name])) if name in each.values else "" for name in parameters],
        "metrics": [("" if spread is None else repr(spread.mean), words.spread(spread)) for spread in spreads],
        "n": min((spread.n for spread in spreads if spread is not None), default=0),
        "step": max(trial.step for trial in each.trials),
        "steps": words.steps(each),
        "gpu_hours": each.gpu_hours,
        "hours": words.hours(each.gpu_hours),
        "states": words.counted(states, one=True),
        "worst": next((state for state in reversed(words.ORDER) if states[state]), ""),
        "runs": [
            {
                "number": trial.number,
                "state": trial.state,
                "href": _href(trial),
                "title": f"{trial.run_id}: {trial.state}",
            }
            for trial in each.trials
        ],
    }


def _failure(trial: Trial) -> dict[str, Any]:
    values = ", ".join(f"{name}={words.value(value)}" for name, value in trial.values.items())
    told = {"number": trial.number, "run_id": trial.run_id, "href": _href(trial)}
    return told | {"what": one_line(values), "why": one_line(trial.why())}


def _href(trial: Trial) -> str:
    """The run folder as seen from the page, so that the tree may be moved or copied as a whole."""
    return f"../../{quote(trial.run_id)}/"
