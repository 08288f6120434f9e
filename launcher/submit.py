"""The verb `submit`: check, freeze, prepare, start. One command for a new run, and for one that goes on."""

import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conf.folder import RunFolder, now, read_json, write_json
from conf.schema.operations import RunPlace
from conf.schema.problems import ConfigProblems
from launcher import argv, report
from launcher.again import require_same_layout, resolve_again
from launcher.child import run_trainer
from launcher.errors import InputError
from launcher.freeze import Claim, Origin, freeze, refreeze, require_same_identity
from launcher.resolve import Resolved, resolve
from launcher.runs import is_run
from launcher.start import FINISHED, prepared
from launcher.state import ACTIVE, State, job_ids, state_of

_INTENT = ".submitting"
"""File in a run folder between the decision to call sbatch and the record of its answer."""


def main(arguments: Sequence[str]) -> int:
    """`python -m launcher [submit] OVERRIDES [--json]`. Gives the exit code."""
    line = argv.single(argv.parse(arguments))
    return launch(resolve(line.overrides, line.config_dir), line.json)


def relaunch(folder: RunFolder, overrides: Sequence[str], json: bool = False, config_dir: Path | None = None) -> int:
    """Go on with a run, with other operational fields where they are typed. Gives the exit code.

    Raises ConfigProblems where a field is wrong or would change the identity."""
    resolved = resolve_again(folder, overrides, config_dir or argv.parse(()).config_dir)
    if resolved.folder.path != folder.path:
        raise InputError(f"{folder.id} goes on where it lies, {folder.path}: leave name= and run.root= out")
    return launch(resolved, json)


def launch(resolved: Resolved, json: bool, of: RunFolder | None = None) -> int:
    """Carry out a checked command: start the run, or say that it runs or is finished. Gives the exit code.

    `of`: the run that a new one makes again, with its code and assets."""
    folder = resolved.folder
    report.print_warnings(resolved.warnings)
    if is_run(folder.path):
        require_same_identity(folder, resolved)
        state = _state(folder)
        if state.status in (*FINISHED, *ACTIVE):
            return _tell(folder, state, json)
        require_same_layout(folder, resolved.config)
    _preflight(resolved)
    claim = freeze(resolved, origin=None if of is None else Origin.of(of))
    try:
        return _carry_out(resolved, claim, json)
    finally:
        claim.release()


def _carry_out(resolved: Resolved, claim: Claim, json: bool) -> int:
    folder, config = claim.folder, resolved.config
    if claim.handle is None:
        report.say(f"{folder.id} is in the hands of another launcher at this moment: nothing was done")
        return _answer(folder, json, status="submitting")
    if not claim.created:
        _finish_submission(folder)
        state = _state(folder)
        if state.status in (*FINISHED, *ACTIVE):
            return _tell(folder, state, json)
        if refreeze(folder, resolved):
            report.say(f"{folder.id} goes on with the code as it is now; it was frozen with another")
    if config.site.prepare == "login" and not prepared(folder):
        _prepare(claim)
    return _start(resolved, folder, json)


def _prepare(claim: Claim) -> None:
    """Weights and data into the store. A folder made for a run that cannot be prepared goes again: it would stand in
    the way of the corrected command where that has the same name."""
    try:
        run_trainer(claim.folder, ["prepare", str(claim.folder.path)], quiet=True)
    except BaseException:
        if claim.created:
            shutil.rmtree(claim.folder.path, ignore_errors=True)
        raise


def _start(resolved: Resolved, folder: RunFolder, json: bool) -> int:
    """Submit and return, or run here to the end."""
    config = resolved.config
    if config.cluster.kind == "slurm":
        from launcher.slurm.command import Refused
        from launcher.slurm.submit import submit

        write_json(folder.path / _INTENT, {"t": now(), "pid": os.getpid()})
        try:
            job_id = submit(config, folder)
        except Refused:
            (folder.path / _INTENT).unlink()  # no job is there
            raise
        (folder.path / _INTENT).unlink()
        return _answer(folder, json, status="queued", job_id=job_id)
    from launcher import here, local

    start = here.start if config.cluster.kind == "here" else local.start
    return start(config, folder, json)


def _preflight(resolved: Resolved) -> None:
    """The checks that need the site."""
    from launcher import preflight

    found = preflight.check(resolved.config)
    if any(not problem.warning for problem in found):
        raise ConfigProblems(found)
    report.print_warnings(found)


def _finish_submission(folder: RunFolder) -> None:
    """Where a launcher died between sbatch and its record, look for the job under the run's name and record it.

    Raises SiteError where Slurm does not answer: the job may be there."""
    intent = folder.path / _INTENT
    if not read_json(intent):
        return
    from launcher.slurm import queue

    known = {event.get("job_id") for event in folder.events()}
    found = queue.find(folder, known)
    if found is not None:
        folder.append_event("submitted", max(folder.attempt_numbers(), default=0) + 1, job_id=found)
    intent.unlink()


def _state(folder: RunFolder) -> State:
    from launcher.slurm import queue

    return state_of(folder, queue.look(job_ids([folder])))


def _tell(folder: RunFolder, state: State, json: bool) -> int:
    """Say where a run stands that needs no start. A job that Slurm holds after a failed launch is released."""
    from launcher.slurm import queue

    if state.status in FINISHED:
        result = folder.result()
        report.say(f"{folder.id} is finished: nothing is started")
        return _answer(folder, json, status=state.status, job_id=state.job_id, result=result)
    if state.job is not None and state.job.reason == queue.LAUNCH_FAILED:
        queue.release(state.job.id)
        report.say(f"{folder.id}: Slurm held job {state.job.id}, which a node could not start; it is released")
    else:
        report.say(f"{folder.id} is {state.status}: nothing is started. {state.message}".rstrip())
    return _answer(folder, json, status=state.status, job_id=state.job_id)


def _answer(folder: RunFolder, json: bool, **more: Any) -> int:
    """Print run id, job id and folder, and what to type next."""
    if json:
        report.document({"run_id": folder.id, "job_id": None, "folder": str(folder.path)} | more)
        return 0
    result = more.pop("result", {})
    rows = {"run": folder.id, "job": more.get("job_id"), "state": more["status"], "folder": folder.path}
    rows |= {name: result[name] for name in ("step", "train_loss", "eval_loss_before", "eval_loss") if name in result}
    for name, value in rows.items():
        if value is not None:
            print(f"{name.replace('_', ' '):16} {report.one_line(str(value))}")
    if not result:
        typed = folder.id if folder.path.parent == Path(RunPlace().root).absolute() else shlex.quote(str(folder.path))
        report.say(f"\npython -m launcher status {typed}\npython -m launcher logs -f {typed}")
    return 0
