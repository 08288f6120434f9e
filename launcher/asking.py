"""Asking a running run for something by a file in its folder, looked for after each step; and waiting for it."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from conf.folder import FINAL, RunFolder
from launcher import report
from launcher.arguments import Parser
from launcher.errors import InputError, RunFailed
from launcher.runs import find
from launcher.slurm import queue
from launcher.start import FINISHED
from launcher.state import ACTIVE, State, job_ids, state_of

WAIT = 600.0
"""Seconds that --wait waits unless --timeout says."""
LOOK = 0.5
"""Seconds between two looks at the run folder."""
ASK_SLURM = 30.0
"""Seconds between two questions to Slurm."""
GOOD = (*ACTIVE, *FINISHED, "stopped")
"""Where a run may stand after a wait, with nothing amiss."""


def main(verb: str, description: str, argv: Sequence[str], ask: Callable[[RunFolder], bool], *, ends: bool) -> int:
    """The verb `stop` or `checkpoint`. `ask` writes the request and tells whether it is new; `ends` says that the run
    ends by it. Gives the exit code.

    Raises InputError for a run that is not running, RunFailed where --wait does not see what was asked for."""
    parser = Parser(verb, description)
    parser.add_argument("run", metavar="RUN", help="run id or folder")
    parser.add_argument("--wait", action="store_true", help="return when it is done, or the run has ended")
    parser.add_argument(
        "--timeout", type=float, default=WAIT, metavar="S", help="longest wait (default: %(default)g s)"
    )
    arguments = parser.read(argv)
    folder = find(arguments.run, arguments.root)
    state = running(folder, verb)
    events = len(folder.events())
    new = ask(folder)
    if state.message:
        report.say(f"{folder.id}: {state.message}")
    record: dict[str, Any] = {"run_id": folder.id, "asked": verb, "status": "running", "checkpoint": None}
    if arguments.wait:
        record |= wait(folder, verb, events, arguments.timeout, ends=ends)
    message = _message(folder, verb, record, ends, new)
    report.say(message)
    if arguments.json:
        report.document(record | {"message": message})
    return 0 if record["status"] in GOOD else RunFailed.exit_code


def running(folder: RunFolder, verb: str) -> State:
    """Where a run stands that is running. Raises InputError for any other, with what to type."""
    state = look(folder)
    if state.status == "running":
        return state
    resume = f"to go on with it type `python -m launcher resume {folder.id}`"
    if state.status == "queued":
        does = "begins" if not folder.attempt_numbers() else "goes on"
        raise InputError(
            f"{folder.id} is queued, and cannot {verb} before it {does}: to take it out of the queue type "
            f"`python -m launcher cancel {folder.id}`"
        )
    if state.status in FINISHED:
        raise InputError(
            f"{folder.id} is {state.status}: there is nothing to {verb}. `python -m launcher status {folder.id}` shows "
            "its result"
        )
    if state.status in FINAL:
        raise InputError(f"{folder.id} is over ({state.status}): there is nothing to {verb}; {resume}")
    said = f"{folder.id} does not run ({state.status})"
    raise InputError(f"{said}: {state.message}" if "resume" in state.message else f"{said}: {resume}")


def look(folder: RunFolder) -> State:
    """Where a run stands now."""
    return state_of(folder, queue.look(job_ids([folder])))


def wait(folder: RunFolder, verb: str, events: int, seconds: float, *, ends: bool) -> dict[str, Any]:
    """Wait until the run has done what was asked after its first `events` events, or has ended: its status then, and
    the checkpoint (step and path), None where there was none.

    Raises RunFailed where it has done neither in so many seconds, or could not save."""
    deadline, next_question = time.monotonic() + seconds, time.monotonic() + ASK_SLURM
    while True:
        since = folder.events()[events:]
        saved = checkpoint(since)
        if saved and not ends:
            return {"status": "running", "checkpoint": saved}
        status = folder.result().get("status")
        if status is None and time.monotonic() >= next_question:
            # A run that was killed writes no result.
            status, next_question = _left(folder), time.monotonic() + ASK_SLURM
        if status is not None:
            return {"status": status, "checkpoint": checkpoint(folder.events()[events:])}
        failed = [event for event in since if event.get("event") == "checkpoint_failed"]
        if failed and not ends:
            raise RunFailed(f"{folder.id} could not save at step {failed[-1].get('step')}: {failed[-1].get('why')}")
        if time.monotonic() >= deadline:
            raise RunFailed(
                f"{folder.id} has not done so after {seconds:g} s; it looks after each step, and the request stands. "
                f"`python -m launcher status {folder.id}` says what it does"
            )
        time.sleep(LOOK)


def _left(folder: RunFolder) -> str | None:
    """The status of a run that has ended; None while it runs, and while it is requeued: it obeys when it goes on."""
    status = look(folder).status
    return None if status in ACTIVE else status


def checkpoint(events: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Step and path of the last checkpoint both begun and committed in these events; one begun before the request does
    not hold what was asked for."""
    begun: set[Any] = set()
    found = None
    for event in events:
        if event.get("event") == "checkpoint_started":
            begun.add(event.get("step"))
        elif event.get("event") == "checkpoint_committed" and event.get("step") in begun:
            found = {"step": event.get("step"), "path": event.get("path")}
    return found


def _message(folder: RunFolder, verb: str, record: dict[str, Any], ends: bool, new: bool) -> str:
    saved, status = record["checkpoint"], record["status"]
    at = f" Its last checkpoint is of step {saved['step']}" if saved else ""
    if status == "running" and saved:
        return f"{folder.id} has saved step {saved['step']}, and goes on: {saved['path']}"
    if status == "running":
        does = "saves and ends" if ends else "saves and goes on"
        begin = f"{folder.id} is asked to {'stop' if ends else 'save'}" if new else f"{folder.id} was asked before"
        return f"{begin}: it {does} after its present step"
    if status == "stopped" and verb == "stop":
        return f"{folder.id} has stopped.{at}; to go on type `python -m launcher resume {folder.id}`"
    return f"{folder.id} does not run any more: {status}.{at}".rstrip(".") + "."
