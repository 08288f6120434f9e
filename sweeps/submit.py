"""Submitting a sweep: one command for a new one, for one that was interrupted, and for one that is widened."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from conf.schema.problems import ConfigProblems, Problem
from launcher import argv, complete, preflight, report
from launcher.errors import InputError, SiteError
from launcher.freeze import Origin, claim, unwritable
from sweeps import arrays, assets, ledger, one_by_one, waiting, words
from sweeps.axes import read_line
from sweeps.expand import read_settings
from sweeps.folder import SweepFolder
from sweeps.freezing import Standing, freeze_all, standing
from sweeps.plan import Grid, Trial, grid_of
from sweeps.record import made_with, record_of

LOCK_WAIT = 10.0
"""Seconds to wait for another launcher that works on the same sweep."""


def main(arguments: Sequence[str]) -> int:
    """`python -m launcher -m OVERRIDES [--wait] [--hold] [--json]`. Gives the exit code."""
    line = argv.parse(arguments)
    read = read_line(line.overrides)
    settings = read_settings(read, line.config_dir)
    if settings.sweep.search != "grid":
        from sweeps.workers import launch_search

        return launch_search(line, read, settings)
    return launch_grid(grid_of(line, read, settings), line)


def launch_grid(grid: Grid, line: argv.Line) -> int:
    """Start whatever is missing of a checked grid. Gives the exit code."""
    report.print_warnings(grid.warnings)
    slurm = grid.trials[0].run.config.cluster.kind == "slurm"
    if line.hold and not slurm:
        raise InputError("--hold: only jobs of Slurm can be held")
    fresh = not grid.folder.path.exists()
    if fresh and standing(_numbered(grid)).needed:
        _preflight(grid)  # before anything is made: a refusal leaves no folder
    with locked(grid.folder):
        if slurm:
            ledger.put_right(grid.folder)
        numbered = _numbered(grid)
        stand = standing(numbered)
        if stand.needed and not fresh:
            _preflight(grid)
        origin = Origin.take(grid.folder.root)
        write_record(grid, origin)
        note_trials(grid, numbered)
        if not slurm:
            return one_by_one.run(grid, stand, origin, line.json)
        ready, jobs = freeze_all(stand.needed, origin)
        done = arrays.submit(grid.folder, ready, arrays.Wish(grid.settings.sweep.parallel, line.hold, jobs))
    _say(grid, stand, done, quiet=line.json)
    if line.wait:
        return waiting.wait(grid.folder, line.json)
    if line.json:
        report.document(_document(grid, stand, done))
    return SiteError.exit_code if done.refused and not done.elements else 0


@contextmanager
def locked(sweep: SweepFolder, wait: float = LOCK_WAIT) -> Iterator[None]:
    """The right to change a sweep. Raises SiteError where its folder cannot be made, InputError where another launcher
    works on it."""
    try:
        sweep.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = claim(sweep.path, wait)
    except OSError as error:
        raise unwritable(sweep.root, error) from error
    if handle is None:
        raise InputError(f"{sweep.id} is in the hands of another launcher at this moment: type the same again later")
    try:
        yield
    finally:
        os.close(handle)


def _numbered(grid: Grid) -> list[tuple[int, Trial]]:
    """The trials of a command with their numbers: known ones keep theirs, new ones come after."""
    known = {trial["run_id"]: trial["number"] for trial in grid.folder.trials()}
    fresh = max(known.values(), default=-1) + 1
    found = []
    for trial in grid.trials:
        run_id = trial.folder.id
        if run_id not in known:
            known[run_id] = fresh
            fresh += 1
        found.append((known[run_id], trial))
    return found


def note_trials(grid: Grid, numbered: Sequence[tuple[int, Trial]]) -> None:
    """Write new trials down; repeats over seeds share the number of their configuration."""
    listed = grid.folder.trials()
    known = {trial["number"] for trial in listed}
    configurations = {_configuration(trial["values"]): trial["group"] for trial in listed}
    for number, trial in numbered:
        if number in known:
            continue
        values = trial.values
        group = configurations.setdefault(_configuration(values), max(configurations.values(), default=-1) + 1)
        run_id = trial.folder.id
        grid.folder.append_trial(
            {"number": number, "run_id": run_id, "values": values, "group": group, "shape": trial.shape}
        )


def _configuration(values: dict[str, Any]) -> str:
    return repr(sorted((key, repr(value)) for key, value in values.items() if key != "seed"))


def write_record(grid: Grid, origin: Origin) -> None:
    """sweep.json: new, or with this command added to those that made the sweep.

    Raises ConfigProblems where the name belongs to a sweep of another kind."""
    before = grid.folder.sweep()
    if before and before["kind"] != "grid":
        message = f"{grid.folder.id} is a search, and this is a grid: choose another sweep.name"
        raise ConfigProblems([Problem("sweep.name", message)])
    store = grid.trials[0].run.config.store.root
    grid.folder.write_sweep(
        record_of(grid.folder, "grid", grid.settings, grid.words, grid.config_dir) | made_with(origin.code, store)
    )


def _preflight(grid: Grid) -> None:
    """The checks that need the site, once for each shape of job; offline, for all weights and rows of the sweep."""
    for shared in assets.groups([trial.run for trial in grid.trials if trial.run.config.offline]):
        complete.require(shared.runs[0].config)
    configs = [shape.config for shape in grid.shapes.found] or [grid.trials[0].run.config]
    found = [problem for config in configs for problem in preflight.check(config)]
    if any(not problem.warning for problem in found):
        raise ConfigProblems(found)
    report.print_warnings(found)


def _say(grid: Grid, stand: Standing, done: arrays.Submitted, quiet: bool) -> None:
    """What was done, in words."""
    for count, what in (
        (stand.finished, "finished already"),
        (stand.active, "queued or running already"),
        (done.taken, "in the hands of another launcher"),
    ):
        if count:
            report.say(f"{count} of {len(grid.trials)} trials are {what}: nothing is started for them")
    if done.refused:
        report.say(f"Slurm refused more: {done.refused}")
    if done.waiting:
        report.say(
            f"{done.waiting} trials wait for room under this site's limits: jobs submit them where nodes may, else "
            f"type `python -m sweeps continue {words.typed(grid.folder)}`"
        )
    if quiet:
        return
    rows = {"sweep": grid.folder.id, "trials": len(grid.trials), "submitted": done.elements}
    rows |= {"arrays": ", ".join(done.jobs)} if done.jobs else {}
    for name, value in (rows | {"folder": grid.folder.path}).items():
        print(f"{name:16} {report.one_line(str(value))}")
    report.say(f"\npython -m sweeps status {words.typed(grid.folder)}")


def _document(grid: Grid, stand: Standing, done: arrays.Submitted) -> dict[str, Any]:
    return {
        "sweep_id": grid.folder.id,
        "folder": str(grid.folder.path),
        "trials": len(grid.trials),
        "submitted": done.elements,
        "jobs": done.jobs,
        "waiting": done.waiting,
        "finished": stand.finished,
        "active": stand.active,
    }
