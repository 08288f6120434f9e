"""`--wait`: until no trial of a sweep has anything more to come."""

import time
from collections import Counter

from launcher import report
from launcher.errors import RunFailed
from launcher.runs import is_run
from launcher.slurm import queue
from launcher.state import ACTIVE, job_ids, state_of
from sweeps import ledger
from sweeps.folder import SweepFolder, run_of

LOOK = (2.0, 30.0)
"""Seconds between two questions to Slurm: at first, and after a while."""
BAD = ("failed", "lost", "interrupted", "new")
"""Ends that are no success."""


def wait(sweep: SweepFolder, json: bool) -> int:
    """Wait for the end of all trials, submitting what the site's limits held back. Gives the exit code: 0, or 4 where
    one failed."""
    from sweeps.continue_ import go_on

    pause, before = LOOK[0], ""
    while True:
        counts = states(sweep)
        held = len(ledger.waiting(sweep))
        said = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        if said != before:
            report.say(said)
            before = said
        if held:
            go_on(sweep)
        elif not any(counts[status] for status in ACTIVE):
            break
        time.sleep(pause)
        pause = min(LOOK[1], pause * 1.3)
    if json:
        report.document({"sweep_id": sweep.id, "folder": str(sweep.path), "states": dict(counts)})
    return RunFailed.exit_code if any(counts[status] for status in BAD) else 0


def states(sweep: SweepFolder) -> Counter[str]:
    """How many trials stand where, with one question to Slurm."""
    folders = [folder for folder in (run_of(sweep, trial) for trial in sweep.trials()) if is_run(folder.path)]
    answer = queue.look(job_ids(folders))
    return Counter(state_of(folder, answer).status for folder in folders)


def wait_for_search(sweep: SweepFolder, json: bool) -> int:
    """Wait until no worker of a search is queued or running. Gives the exit code: 0, or 4 where a trial failed or
    none completed."""
    mine = {str(chunk.job_id) for chunk in ledger.chunks(sweep) if chunk.job_id}
    pause = LOOK[0]
    while any(job.partition("_")[0] in mine for job in queue.active()):
        time.sleep(pause)
        pause = min(LOOK[1], pause * 1.3)
    counts = states(sweep)
    if json:
        report.document({"sweep_id": sweep.id, "folder": str(sweep.path), "states": dict(counts)})
    failed = counts["failed"] or counts["lost"] or not (counts["completed"] or counts["pruned"])
    return RunFailed.exit_code if failed else 0
