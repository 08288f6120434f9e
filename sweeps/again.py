"""Starting trials of a sweep again, whose folders are frozen already: nothing is composed."""

from collections.abc import Sequence

from launcher.runs import is_run
from launcher.slurm import queue
from launcher.start import FINISHED
from launcher.state import ACTIVE, job_ids, last_start, state_of
from sweeps import arrays
from sweeps.arrays import Ready, Submitted, Wish
from sweeps.folder import SweepFolder, run_of


def startable(sweep: SweepFolder, numbers: Sequence[int]) -> list[Ready]:
    """Those of some trials that are frozen, and neither finished, queued nor running. One question to Slurm."""
    listed = {trial["number"]: trial for trial in sweep.trials()}
    folders = {number: run_of(sweep, listed[number]) for number in numbers if number in listed}
    folders = {number: folder for number, folder in folders.items() if is_run(folder.path)}
    answer = queue.look(job_ids(list(folders.values())))
    found = []
    for number, folder in folders.items():
        if state_of(folder, answer).status not in (*FINISHED, *ACTIVE):
            found.append(Ready(number, folder, folder.config(), last_start(folder)))
    return found


def submit(sweep: SweepFolder, ready: Sequence[Ready], hold: bool = False) -> Submitted:
    """Submit them under the sweep's own limit. Only for whoever holds the sweep's lock."""
    return arrays.submit(sweep, ready, Wish(sweep.sweep()["settings"]["parallel"], hold))
