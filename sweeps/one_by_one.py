"""A sweep on this machine: its trials one after another, in the foreground."""

import contextlib
import sys
from typing import Any

from launcher import report
from launcher.errors import RunFailed
from launcher.freeze import Origin
from launcher.submit import launch
from sweeps import words
from sweeps.freezing import Standing, freeze_all
from sweeps.plan import Grid

INTERRUPTED = 130


def run(grid: Grid, stand: Standing, origin: Origin, json: bool) -> int:
    """Run what is missing. Gives the exit code: 0, 4 where a trial failed, 130 where it was interrupted; the same
    command goes on."""
    ready, _ = freeze_all(stand.needed, origin)
    runs = {each.number: each.trial.run for each in stand.needed}
    failed: list[int] = []
    for place, trial in enumerate(ready, 1):
        report.say(f"trial {trial.number} ({place} of {len(ready)}): {trial.folder.id}")
        with contextlib.redirect_stdout(sys.stderr):
            code = launch(runs[trial.number], False)
        if code == INTERRUPTED:
            report.say(f"{len(ready) - place} trials are left; the same command goes on")
            return code
        failed += [trial.number] if code else []
    if json:
        report.document(_document(grid, stand, len(ready), failed))
    else:
        print(f"{grid.folder.id}: {len(ready) - len(failed)} of {len(ready)} trials trained, {stand.finished} before")
        report.say(f"python -m sweeps status {words.typed(grid.folder)}")
    if failed:
        report.say(f"failed: {', '.join(map(str, failed))}")
    return RunFailed.exit_code if failed else 0


def _document(grid: Grid, stand: Standing, ran: int, failed: list[int]) -> dict[str, Any]:
    return {
        "sweep_id": grid.folder.id,
        "folder": str(grid.folder.path),
        "trials": len(grid.trials),
        "ran": ran,
        "finished": stand.finished,
        "failed": failed,
    }
