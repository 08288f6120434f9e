"""Verb `cancel`: end runs, wherever they are, and see that they are gone."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from conf.folder import RunFolder, write_json
from launcher import here, process, report
from launcher.arguments import Parser
from launcher.errors import InputError, SiteError
from launcher.progress import Progress
from launcher.runs import find
from launcher.slurm import queue
from launcher.slurm.command import Refused, available, call
from launcher.state import State, job_ids, last_start, state_of

GONE = 180.0
"""Seconds within which a cancelled job must have left: Slurm's KillWait and the agent's own grace are in it."""
LOCAL_GRACE = 60.0
"""Seconds that a run on this machine has to leave by itself."""


def main(argv: Sequence[str]) -> int:
    """`python -m launcher cancel RUN... [--json]`. Gives the exit code; 0 too for a run that is over already."""
    parser = Parser("cancel", "End runs. A run that is over stays as it is.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run id or folder")
    arguments = parser.read(argv)
    said = [cancel(folder) for folder in [find(run, arguments.root) for run in arguments.runs]]
    for record in said:
        report.say(record["message"])
    if arguments.json:
        report.document({"runs": said})
    return 0


def cancel(folder: RunFolder) -> dict[str, Any]:
    """End a run and wait until it is gone. Gives what to say: run_id, status, message.

    Raises InputError for a run on another machine, SiteError where Slurm refuses or does not answer."""
    start = last_start(folder) or {}
    state = state_of(folder, queue.look(job_ids([folder])))
    if folder.result() and not (state.job and not state.job.ended):
        return _said(folder, f"{folder.id} is over already: {state.status}")
    if "pid" not in start and start.get("job_id") and not available("scancel"):
        raise SiteError("there is no scancel on the PATH: cancel this run on a machine that has Slurm")
    if "pid" in start and process.alive(int(start["pid"]), start["host"], folder) is None and not _over(state):
        raise InputError(f"{folder.id} runs on {start['host']}: type `python -m launcher cancel` there")
    # Before the signal, so that whoever gets it knows what it means.
    folder.append_event("cancelled", max(folder.attempt_numbers(), default=1))
    if "pid" in start:
        _end_process(start, folder)
    elif start.get("job_id") and not _over(state):
        for job_id in filter(None, (start["job_id"], start.get("prepare_job_id"))):
            _end_job(str(job_id))
    if folder.result().get("status") in ("completed", "stopped", "pruned"):
        return _said(folder, f"{folder.id} had come to its end before: {folder.result()['status']}")
    write_json(
        folder.result_file,
        {
            "status": "cancelled",
            "cause": "cancelled",
            "message": "cancelled by `launcher cancel`",
            "step": Progress.of(folder).step,
            "attempts": len(folder.attempt_numbers()),
        },
    )
    return _said(folder, f"{folder.id} is cancelled; to go on after all type `python -m launcher resume {folder.id}`")


def _over(state: State) -> bool:
    return state.status in ("interrupted", "lost", "new") or (state.job is not None and state.job.ended)


def _end_process(start: dict[str, Any], folder: RunFolder) -> None:
    job_id = start.get("job_id")
    ask = process.ask_to_leave if job_id is None else partial(here.ask_to_leave, str(job_id), folder)
    process.end(int(start["pid"]), folder, LOCAL_GRACE, ask)


def _end_job(job_id: str) -> None:
    try:
        call(["scancel", job_id], queue.TIMEOUT)
    except Refused as error:
        if "invalid job id" not in error.message.lower() and "already complet" not in error.message.lower():
            raise
    if not queue.wait_until_gone(job_id, GONE):
        raise SiteError(
            f"job {job_id} was told to end, and is still there after {GONE:.0f} s: see `squeue --jobs={job_id}`, and "
            "type the same again later"
        )


def _said(folder: RunFolder, message: str) -> dict[str, Any]:
    return {"run_id": folder.id, "status": folder.result().get("status"), "message": message}
