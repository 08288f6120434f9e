"""Verb `continue`: submit what the site's limits held back, and finish what a killed launcher left half-way."""

import os
import random
import re
import time
from collections.abc import Sequence

from launcher import report
from launcher.arguments import Parser
from launcher.errors import InputError
from launcher.slurm import queue
from sweeps import again, arrays, ledger
from sweeps.arrays import Submitted
from sweeps.folder import SweepFolder, find_sweep
from sweeps.submit import locked

FEW = 4
"""Jobs of a sweep that may all be about to leave."""
PAUSE = (2.0, 8.0)
"""Seconds between two tries, drawn anew each time."""


def main(argv: Sequence[str]) -> int:
    """`python -m sweeps continue SWEEP [--json]`. Gives the exit code."""
    parser = Parser("continue", "Submit the trials that this site's limits held back.")
    parser.prog = "python -m sweeps continue"
    parser.add_argument("sweep", metavar="SWEEP", help="sweep id or folder")
    parser.add_argument(
        "--patience", type=float, default=0.0, metavar="S", help="seconds to wait for room, where nobody else will"
    )
    arguments = parser.read(argv)
    sweep = find_sweep(arguments.sweep, arguments.root)
    done = patiently(sweep, arguments.patience)
    report.say(f"{sweep.id}: {done.elements} trials submitted, {done.waiting} wait")
    if arguments.json:
        report.document({"sweep_id": sweep.id, "submitted": done.elements, "jobs": done.jobs, "waiting": done.waiting})
    return 0


def patiently(sweep: SweepFolder, seconds: float) -> Submitted:
    """The same, tried again for so long while nothing fits: the last jobs of a sweep that end at one time each see the
    others, and none would submit more. While many are there, one that ends later does it; of a few that wait at once
    the last by its number waits twice as long, since all would leave at once, too."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            done = go_on(sweep)
        except InputError:
            if time.monotonic() > deadline:
                raise
        else:
            mine = set(arrays.running(sweep))
            there = [job for job in queue.active() if job.partition("_")[0] in mine]
            until = deadline + (seconds if _is_last(there) else 0)
            if done.elements or not done.waiting or len(there) > FEW or time.monotonic() > until:
                return done
        time.sleep(random.uniform(*PAUSE))


def _is_last(jobs: Sequence[str]) -> bool:
    """Whether this process belongs to the last of some jobs, by array and number."""
    mine = f"{os.environ.get('SLURM_ARRAY_JOB_ID')}_{os.environ.get('SLURM_ARRAY_TASK_ID')}"
    return mine in jobs and mine == max(jobs, key=lambda job: [int(number) for number in re.findall(r"\d+", job)])


def go_on(sweep: SweepFolder) -> Submitted:
    """Submit what fits of what waits. Raises SiteError where Slurm refuses or does not answer."""
    if sweep.sweep()["kind"] != "grid":
        raise InputError(f"{sweep.id} is a search: its workers ask for trials by themselves")
    with locked(sweep):
        ledger.put_right(sweep)
        return again.submit(sweep, again.startable(sweep, ledger.waiting(sweep)))
