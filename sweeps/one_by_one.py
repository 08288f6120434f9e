"""A sweep on this machine: its trials one after another, in the foreground."""

import contextlib
import sys
from collections.abc import Callable, Sequence

from launcher import report
from launcher.errors import RunFailed
from launcher.freeze import Origin
from launcher.submit import launch
from sweeps import words
from sweeps.arrays import Ready
from sweeps.folder import SweepFolder
from sweeps.freezing import Standing, freeze_all
from sweeps.plan import Grid

INTERRUPTED = 130


def run(grid: Grid, stand: Standing, origin: Origin, json: bool) -> int:
    """Run what is missing of a grid. Gives the exit code."""
    ready, _ = freeze_all(stand.needed, origin)
    runs = {each.number: each.trial.run for each in stand.needed}
    counts = {"trials": len(grid.trials), "finished": stand.finished}
    return carry_out(grid.folder, ready, lambda trial: launch(runs[trial.number], False), counts, json)


def carry_out(
    sweep: SweepFolder, ready: Sequence[Ready], start: Callable[[Ready], int], counts: dict[str, int], json: bool
) -> int:
    """Run trials; `counts` says how many the command is about (`trials`), and how many of these are `finished`.

    Gives the exit code: 0, 4 where one failed, 130 where one was interrupted; the same command goes on."""
    failed: list[int] = []
    for place, trial in enumerate(ready, 1):
        report.say(f"trial {trial.number} ({place} of {len(ready)}): {trial.folder.id}")
        with contextlib.redirect_stdout(sys.stderr):
            code = start(trial)
        if code == INTERRUPTED:
            report.say(f"{len(ready) - place} trials are left; the same command goes on")
            return code
        failed += [trial.number] if code else []
    if json:
        said = {"sweep_id": sweep.id, "folder": str(sweep.path), "ran": len(ready), "failed": failed}
        report.document(said | counts)
    else:
        print(f"{sweep.id}: {len(ready) - len(failed)} of {len(ready)} trials trained, {counts['finished']} before")
        report.say(f"python -m sweeps status {words.typed(sweep)}")
    if failed:
        report.say(f"failed: {', '.join(map(str, failed))}")
    return RunFailed.exit_code if failed else 0
