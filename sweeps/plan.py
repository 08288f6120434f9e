"""A sweep worked out from its command: every trial resolved and checked, nothing written. And the verb `plan -m`."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conf.folder import RunFolder
from conf.schema.fields import fields
from conf.schema.identity import is_identity
from conf.schema.problems import ConfigProblems, Problem
from conf.schema.run import RunConfig
from launcher import argv, report
from launcher.overrides import check
from launcher.resolve import Resolved
from sweeps.axes import Line, Point, read_line, spelled, value_of
from sweeps.expand import Expander, Settings, read_settings, resolve_all
from sweeps.folder import SweepFolder
from sweeps.grid import points
from sweeps.shapes import Shapes

MOST_SHOWN = 20
"""Trials that `plan -m` lists."""


@dataclass(frozen=True)
class Trial:
    """One run of a grid."""

    point: Point
    run: Resolved
    folder: RunFolder
    shape: int

    @property
    def values(self) -> dict[str, Any]:
        """What the sweep varies, with this trial's values."""
        return {key: value_of(key, text) for key, text in self.point.items()}


@dataclass(frozen=True)
class Grid:
    """A checked grid."""

    folder: SweepFolder
    settings: Settings
    words: tuple[str, ...]
    """The command in canonical spelling."""
    config_dir: Path | None
    trials: list[Trial]
    shapes: Shapes
    warnings: list[Problem] = field(default_factory=list)


def make_grid(line: argv.Line) -> Grid:
    """All trials of a command. Raises ConfigProblems with every problem of every trial."""
    read = read_line(line.overrides)
    settings = read_settings(read, line.config_dir)
    return grid_of(line, read, settings)


def runs(line: argv.Line) -> list[Resolved]:
    """All runs of a grid; of a search, which has none before it begins, those of a few of its points.

    Raises ConfigProblems with every problem of every trial."""
    read = read_line(line.overrides)
    settings = read_settings(read, line.config_dir)
    if settings.sweep.search == "grid":
        return [trial.run for trial in grid_of(line, read, settings).trials]
    from sweeps.workers import make_search

    return make_search(line, read, settings)[2]


def grid_of(line: argv.Line, read: Line, settings: Settings) -> Grid:
    """The same for a line that was read before."""
    found, problems = points(read, settings.sweep, line.config_dir)
    expander = Expander(read.fixed, settings, line.config_dir)
    runs, wrong = resolve_all(expander, found) if found else ([], [])
    problems += wrong
    if not found and not any(not problem.warning for problem in problems):
        problems.append(Problem("sweep", "no combination is left: take something out of sweep.exclude"))
    problems += _one_kind(runs)
    if any(not problem.warning for problem in problems):
        raise ConfigProblems(problems)
    shapes = Shapes()
    slurm = runs[0].config.cluster.kind == "slurm"
    trials = [
        Trial(point, run, run.folder, shapes.index(run.config) if slurm else 0)
        for point, run in zip(found, runs, strict=True)
    ]
    trials, same = _distinct(trials)
    words = canonical(read, settings, line.config_dir)
    folder = SweepFolder(Path(runs[0].config.run.root) / sweep_id(runs, settings, words))
    return Grid(folder, settings, words, line.config_dir, trials, shapes, [*problems, *same])


def canonical(read: Line, settings: Settings, config_dir: Path | None) -> tuple[str, ...]:
    """The command as it is recorded: one spelling for what means the same."""
    fixed = check(read.fixed, config_dir).canonical
    return (*fixed, *(f"{key}={text}" for key, text in read.swept.items()))


def sweep_id(runs: Sequence[Resolved], settings: Settings, words: Sequence[str]) -> str:
    """Name of the sweep's folder: the same for the same command."""
    if settings.sweep.name:
        return settings.sweep.name
    parts = []
    for group in ("model", "adapter", "data", "method"):
        names = {getattr(run.config, group).name for run in runs}
        parts.append(names.pop() if len(names) == 1 else "various")
    said = sorted(word for word in words if decides(word))
    listed = settings.sweep.model_dump(mode="json", exclude={"name", "parallel", "trials"})
    digest = hashlib.sha256(json.dumps([said, listed], sort_keys=True).encode()).hexdigest()
    return f"{'-'.join(parts)}-sweep-{digest[:8]}"


def decides(word: str) -> bool:
    """Whether a word is about what the trials are, not about where and how they run."""
    path = word.lstrip("~").partition("=")[0]
    head = path.partition(".")[0]
    if head in ("sweep", "budget") or (head in RunConfig.model_fields and not is_identity(RunConfig, head)):
        return False
    info = fields().get(path)
    extra = info.json_schema_extra if info is not None else None
    return not (isinstance(extra, dict) and extra.get("identity") is False)


def _one_kind(runs: Sequence[Resolved]) -> list[Problem]:
    kinds = sorted({run.config.cluster.kind for run in runs})
    if len(kinds) < 2:
        return []
    return [
        Problem("cluster", f"the trials of a sweep run either on Slurm or here, and these are {' and '.join(kinds)}")
    ]


def _distinct(trials: list[Trial]) -> tuple[list[Trial], list[Problem]]:
    """The trials without those that are one and the same run, and a warning about these."""
    first: dict[Path, Trial] = {}
    for trial in trials:
        first.setdefault(trial.folder.path, trial)
    if len(first) == len(trials):
        return trials, []
    message = (
        f"{len(trials) - len(first)} of {len(trials)} combinations are the same run as another one, and are left out: "
        "what differs does not decide the result"
    )
    return list(first.values()), [Problem("sweep", message, "same-run", warning=True)]


def main(arguments: Sequence[str]) -> int:
    """`python -m launcher plan -m OVERRIDES [--json]`. Gives the exit code."""
    line = argv.parse(arguments)
    read = read_line(line.overrides)
    settings = read_settings(read, line.config_dir)
    if settings.sweep.search != "grid":
        return _show_search(line, read, settings)
    grid = grid_of(line, read, settings)
    record = {
        "sweep_id": grid.folder.id,
        "folder": str(grid.folder.path),
        "search": grid.settings.sweep.search,
        "trials": [{"run_id": trial.folder.id, "values": trial.values, "shape": trial.shape} for trial in grid.trials],
        "shapes": [shape.asked for shape in grid.shapes.found],
        "warnings": report.records(grid.warnings),
    }
    if line.json:
        report.document(record)
        return 0
    shapes = max(1, len(grid.shapes.found))
    print(f"{grid.folder.id}: {len(grid.trials)} trials, {shapes} shape{'s' * (shapes > 1)} of job")
    for trial in grid.trials[:MOST_SHOWN]:
        print(report.one_line("  " + " ".join(f"{key}={spelled(value)}" for key, value in trial.values.items())))
    if len(grid.trials) > MOST_SHOWN:
        print(f"  and {len(grid.trials) - MOST_SHOWN} more; --json lists all")
    report.print_warnings(grid.warnings)
    return 0


def _show_search(line: argv.Line, read: Line, settings: Settings) -> int:
    """A search has no trials before it runs: its space is shown."""
    from sweeps.workers import make_search

    folder, _, _ = make_search(line, read, settings)
    sweep = settings.sweep
    space = dict(read.swept) | {key: str(values) for key, values in sweep.axes.items() if key not in read.swept}
    record = {"sweep_id": folder.id, "folder": str(folder.path), "search": sweep.search, "space": space}
    if line.json:
        report.document(record | {"workers": sweep.parallel or 1, "trials": sweep.trials})
        return 0
    print(f"{folder.id}: sweep={sweep.search}, {sweep.parallel or 1} at once")
    for key, values in space.items():
        print(report.one_line(f"  {key}={values}"))
    return 0
