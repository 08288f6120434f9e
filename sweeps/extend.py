"""Verb `extend`: more values for a grid, more trials for a search."""

from collections.abc import Sequence
from pathlib import Path

from launcher import argv as lines
from launcher.arguments import Parser
from launcher.errors import InputError
from sweeps.axes import read_line
from sweeps.expand import read_settings
from sweeps.folder import SweepFolder, find_sweep
from sweeps.plan import grid_of
from sweeps.submit import launch_grid


def main(argv: Sequence[str]) -> int:
    """`python -m sweeps extend SWEEP KEY=VALUES... [--wait] [--hold] [--json]`. Gives the exit code."""
    parser = Parser("extend", "Add values to a grid, or trials to a search.")
    parser.prog = "python -m sweeps extend"
    parser.add_argument("sweep", metavar="SWEEP", help="sweep id or folder")
    parser.add_argument("words", nargs="+", metavar="KEY=VALUES", help="what takes the place of the words typed before")
    parser.add_argument("--wait", action="store_true", help="return when all trials have ended")
    parser.add_argument("--hold", action="store_true", help="submit the jobs held")
    arguments = parser.read(argv)
    sweep = find_sweep(arguments.sweep, arguments.root)
    if sweep.sweep()["kind"] != "grid":
        from sweeps.extend_search import extend

        return int(extend(sweep, arguments.words) or 0)
    return _widen(sweep, arguments.words, arguments.wait, arguments.hold, arguments.json)


def _widen(sweep: SweepFolder, words: Sequence[str], wait: bool, hold: bool, json: bool) -> int:
    record = sweep.sweep()
    before: list[str] = record["words"][-1]
    keys = {_key(word) for word in words}
    if keys & {"sweep.name", "run.root"}:
        raise InputError(f"{sweep.id} is widened where it lies: leave sweep.name and run.root out")
    merged = [word for word in before if _key(word) not in {*keys, "sweep.name", "run.root"}]
    merged += [*words, f"sweep.name={sweep.id}", f"run.root={sweep.root}"]
    place = record["config_dir"]
    line = lines.Line(
        tuple(merged), multirun=True, json=json, wait=wait, hold=hold, config_dir=Path(place) if place else None
    )
    read = read_line(line.overrides)
    return launch_grid(grid_of(line, read, read_settings(read, line.config_dir)), line)


def _key(word: str) -> str:
    return word.partition("=")[0].strip().lstrip("+~")
