"""Verb `status`: the ranked table of a sweep in a terminal, which trials failed and why, and what to type."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from launcher.arguments import Parser
from launcher.report import document, one_line, say
from sweeps import words
from sweeps.folder import find_sweep
from sweeps.table import Configuration, Table, read_table
from sweeps.trials import Trial

MOST_FAILURES = 20
"""Failed trials that are listed one by one; --all lists more, and --json every one."""
MOST_ROWS = 40
"""Configurations that are listed without --all."""
_NARROW = 100
"""Columns of a terminal below which headings are the last words of fields."""
_COLOURS = {"completed": "green", "running": "cyan", "failed": "red", "lost": "red", "pruned": "yellow"}


def main(argv: Sequence[str]) -> int:
    """`python -m sweeps status SWEEP [--root DIR] [--all] [--json]`. Gives the exit code."""
    parser = Parser("status", "How a sweep stands: its configurations, best first, and why trials failed.")
    parser.prog = "python -m sweeps status"
    parser.add_argument("sweep", metavar="SWEEP", help="sweep id or folder")
    parser.add_argument("--all", action="store_true", help=f"list more than {MOST_ROWS} configurations")
    arguments = parser.read(argv)
    table = read_table(find_sweep(arguments.sweep, arguments.root))
    if table.complaint:
        say(f"Slurm cannot be asked: {table.complaint}")
    if arguments.json:
        document(record(table))
    else:
        show(table, arguments.all)
    return 0


def record(table: Table) -> dict[str, Any]:
    """The table as one JSON document."""
    return {
        "sweep_id": table.sweep.id,
        "folder": str(table.sweep.path),
        "kind": table.record.get("kind"),
        "objectives": [{"metric": goal.metric, "direction": goal.direction} for goal in table.objectives],
        "states": dict(table.states()),
        "gpu_hours": sum(trial.gpu_hours for trial in table.trials),
        "configurations": [_configuration(each) for each in table.configurations],
        "trials": [trial_record(trial) for trial in table.trials],
        "failed": [trial.number for trial in table.failed()],
        "next": [command for command, _ in words.next_commands(table)],
    }


def trial_record(trial: Trial) -> dict[str, Any]:
    """One trial as JSON has it."""
    return {
        "number": trial.number,
        "run_id": trial.run_id,
        "group": trial.group,
        "values": trial.values,
        "state": trial.state,
        "cause": trial.cause,
        "message": trial.message,
        "job_id": trial.job_id,
        "step": trial.step,
        "steps": trial.steps,
        "metrics": trial.metrics,
        "gpu_hours": trial.gpu_hours,
        "attempts": trial.attempts,
        "folder": str(trial.folder.path),
    }


def _configuration(each: Configuration) -> dict[str, Any]:
    spreads = {
        name: None if spread is None else {"mean": spread.mean, "std": spread.std, "n": spread.n}
        for name, spread in each.spreads.items()
    }
    return {
        "rank": each.rank,
        "front": each.front,
        "group": each.group,
        "values": each.values,
        "trials": [trial.number for trial in each.trials],
        "states": dict(each.states()),
        "metrics": spreads,
        "gpu_hours": each.gpu_hours,
    }


def show(table: Table, everything: bool = False, console: Console | None = None) -> None:
    """Print the table, the failures below it, and what to type next."""
    console = console or Console(highlight=False)
    console.print(Text.assemble((one_line(table.sweep.id), "bold"), "  ", words.headline(table)))
    if table.trials:
        shown = table.configurations if everything else table.configurations[:MOST_ROWS]
        console.print(_grid(table, shown, console.width))
        if len(shown) < len(table.configurations):
            console.print(f"and {len(table.configurations) - len(shown)} more: --all lists them")
    _show_failures(table, everything, console)
    for command, why in words.next_commands(table):
        # Commands are to be copied: they are never wrapped.
        console.print(Text.assemble(command, (f"  # {why}", "dim")), soft_wrap=True)


def _grid(table: Table, shown: list[Configuration], width: int) -> Grid:
    grid = Grid(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    grid.add_column("", justify="right", no_wrap=True)
    parameters = [name for name in table.parameters if any(name in each.values for each in table.configurations)]
    repeated = any(len(each.trials) > 1 for each in table.configurations)
    for title in words.headings(parameters, short=width < _NARROW):
        grid.add_column(Text(one_line(title)), overflow="fold")
    for goal in table.objectives:
        grid.add_column(Text(one_line(goal.metric)), justify="right", no_wrap=True)
    if repeated:
        grid.add_column("n", justify="right", no_wrap=True)
    for title in ("steps", "GPU-h"):
        grid.add_column(title, justify="right", no_wrap=True)
    grid.add_column("state", overflow="fold")
    for each in shown:
        grid.add_row(*_cells(table, each, parameters, repeated))
    return grid


def _cells(table: Table, each: Configuration, parameters: list[str], repeated: bool) -> list[Text]:
    mark = "*" if each.front else ""
    cells = [Text(f"{mark}{each.rank or ''}")]
    cells += [Text(one_line(words.value(each.values[name])) if name in each.values else "") for name in parameters]
    cells += [Text(words.spread(each.spreads[goal.metric])) for goal in table.objectives]
    if repeated:
        counts = [spread.n for spread in each.spreads.values() if spread is not None]
        cells.append(Text(str(min(counts, default=0))))
    states = each.states()
    worst = next((name for name in _COLOURS if name in ("failed", "lost") and states[name]), next(iter(states)))
    state = Text(words.counted(states, one=True), style=_COLOURS.get(worst, ""))
    return [*cells, Text(words.steps(each)), Text(words.hours(each.gpu_hours)), state]


def _show_failures(table: Table, everything: bool, console: Console) -> None:
    failed = table.failed()
    if not failed:
        return
    console.print(Text(f"\n{len(failed)} failed:", style="bold red"))
    shown = failed if everything else failed[:MOST_FAILURES]
    for trial in shown:
        console.print(Text(f"trial {trial.number}  {one_line(trial.run_id)}: {one_line(trial.why())}"))
    if len(shown) < len(failed):
        console.print(f"and {len(failed) - len(shown)} more: --all lists them")
    console.print()
