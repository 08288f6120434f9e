"""Making the run folders of a sweep: all of them before anything is submitted, each complete or not there."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from launcher.errors import SiteError
from launcher.freeze import Origin, freeze, refreeze, require_same_identity
from launcher.runs import is_run
from launcher.slurm import queue
from launcher.start import FINISHED
from launcher.state import ACTIVE, job_ids, last_start, state_of
from sweeps import assets
from sweeps.arrays import Ready
from sweeps.plan import Trial

_WRITERS = 8
"""Run folders written at once: most of the time goes by in waiting for the disk."""


@dataclass(frozen=True)
class Needed:
    """A trial whose run is to be started."""

    number: int
    trial: Trial


@dataclass(frozen=True)
class Standing:
    """How the trials of a sweep stand before anything is done."""

    needed: list[Needed]
    finished: int
    active: int


def standing(trials: Sequence[tuple[int, Trial]]) -> Standing:
    """Which trials are to be started: new ones, and those that failed or were interrupted. One question to Slurm.

    Raises ConfigProblems where a folder in the way belongs to another identity, SiteError where runs were submitted
    and Slurm does not say how they are."""
    folders = {number: trial.folder for number, trial in trials}
    there = {number: folder for number, folder in folders.items() if os.path.lexists(folder.path)}
    answer = queue.look(job_ids([folder for folder in there.values() if is_run(folder.path)]))
    if not answer.answered:
        raise SiteError(
            f"runs of this sweep were submitted before, and Slurm does not say how they are: {answer.complaint}"
        )
    needed, finished, active = [], 0, 0
    for number, trial in trials:
        if number in there:
            require_same_identity(there[number], trial.run)
            status = state_of(there[number], answer).status
            if status in FINISHED:
                finished += 1
                continue
            if status in ACTIVE:
                active += 1
                continue
        needed.append(Needed(number, trial))
    return Standing(needed, finished, active)


def freeze_all(needed: Sequence[Needed], origin: Origin) -> tuple[list[Ready], list[str]]:
    """Prepare what the trials share, and make all their folders; gives them ready to start, and the jobs that prepare.

    Raises LauncherError where the preparation fails, SiteError where a folder cannot be written."""
    by_run = {id(each.trial.run): each for each in needed}
    shared = assets.groups([each.trial.run for each in needed])
    config = needed[0].trial.run.config if needed else None
    jobs: list[str] = []
    known: list[dict[str, Any]] = [{} for _ in shared]
    if config is not None and config.site.prepare == "login":
        known = assets.prepare(shared, origin)
    elif config is not None and config.site.prepare == "job" and config.cluster.kind == "slurm":
        jobs = [job for job in (assets.submit(each, origin) for each in shared) if job]
    ready: dict[int, Ready] = {}
    for each, found in zip(shared, known, strict=True):
        members = [by_run[id(run)] for run in each.runs]
        ready |= {trial.number: trial for trial in _written(members, replace(origin, assets=found))}
    return [ready[each.number] for each in needed if each.number in ready], jobs


def _written(members: Sequence[Needed], origin: Origin) -> list[Ready]:
    """The folders of some trials; a run in the hands of another launcher is left out."""

    def write(each: Needed) -> Ready | None:
        return _freeze(each, origin)

    with ThreadPoolExecutor(_WRITERS) as pool:
        return [ready for ready in pool.map(write, members) if ready is not None]


def _freeze(each: Needed, origin: Origin) -> Ready | None:
    run = each.trial.run
    claim = freeze(run, wait=2.0, origin=origin)
    try:
        if claim.handle is None:
            return None
        if not claim.created:
            refreeze(claim.folder, run, origin)
        assets.give(claim.folder, origin.assets)
        return Ready(each.number, claim.folder, run.config, last_start(claim.folder))
    finally:
        claim.release()
