"""Verb `cancel`: end a whole sweep."""

from collections.abc import Sequence
from typing import Any

from conf.folder import write_json
from launcher import report
from launcher.arguments import Parser
from launcher.progress import Progress
from launcher.runs import is_run
from launcher.slurm import queue
from launcher.slurm.command import Refused, call
from launcher.state import ACTIVE, State, job_ids, state_of
from sweeps import ledger
from sweeps.arrays import WAITING, running
from sweeps.folder import SweepFolder, find_sweep, run_of
from sweeps.submit import locked


def main(argv: Sequence[str]) -> int:
    """`python -m sweeps cancel SWEEP [--json]`. Gives the exit code; 0 too for a sweep that is over."""
    parser = Parser("cancel", "End a sweep: its queued and running trials, and those that wait for room.")
    parser.prog = "python -m sweeps cancel"
    parser.add_argument("sweep", metavar="SWEEP", help="sweep id or folder")
    arguments = parser.read(argv)
    sweep = find_sweep(arguments.sweep, arguments.root)
    with locked(sweep):
        said = cancel(sweep)
    report.say(f"{sweep.id}: {said['cancelled']} trials cancelled; finished ones stay as they are")
    if arguments.json:
        report.document({"sweep_id": sweep.id} | said)
    return 0


def cancel(sweep: SweepFolder) -> dict[str, Any]:
    """End a sweep's jobs with one call, and note it in each trial. Raises SiteError where Slurm refuses or does not
    answer."""
    ledger.put_right(sweep)
    held = ledger.waiting(sweep)
    sweep.append_ledger("cancelled", elements=held)
    (sweep.chunks / WAITING).unlink(missing_ok=True)
    folders = [folder for folder in (run_of(sweep, trial) for trial in sweep.trials()) if is_run(folder.path)]
    answer = queue.look(job_ids(folders))
    states = [(folder, state_of(folder, answer)) for folder in folders]
    jobs = running(sweep)
    going = [(folder, state) for folder, state in states if state.status in ACTIVE and _array(state) in jobs]
    # Before the signal, so that whoever gets it knows what it means.
    for folder, _ in going:
        folder.append_event("cancelled", max(folder.attempt_numbers(), default=1))
    if jobs:
        try:
            call(["scancel", *jobs], queue.TIMEOUT)
        except Refused as error:
            if "invalid job id" not in error.message.lower() and "already complet" not in error.message.lower():
                raise
    for folder, state in going:
        if state.status == "queued" and not folder.result():
            record = {"status": "cancelled", "cause": "cancelled", "message": "cancelled by `sweeps cancel`"}
            attempts = len(folder.attempt_numbers())
            write_json(folder.result_file, record | {"step": Progress.of(folder).step, "attempts": attempts})
    return {"cancelled": len(going) + len(held), "jobs": jobs, "waiting": len(held)}


def _array(state: State) -> str:
    return (state.job_id or "").partition("_")[0]
