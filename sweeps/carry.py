"""Carrying a job out: freeze its run, start it, follow it, stop it where it is to stop, and tell what came of it."""

import time
from dataclasses import dataclass, field
from datetime import UTC

from conf.folder import RunFolder, write_json
from conf.schema.run import RunConfig
from launcher.freeze import Claim, Origin, freeze
from launcher.resolve import Resolved
from launcher.slurm import queue
from launcher.state import ACTIVE, job_ids, state_of
from sweeps import assets
from sweeps.axes import value_of
from sweeps.cost import gpu_hours
from sweeps.folder import SweepFolder, run_of
from sweeps.outcome import Outcome, ended_at, evaluations, outcome
from sweeps.owner import Lease, Owner
from sweeps.search import Search
from sweeps.signals import Notices
from sweeps.space import typed
from sweeps.start import Child, start
from sweeps.study import Job, Study

LOOK = 0.5
"""Seconds between two looks at a run."""
SPEND = 30.0
"""Seconds between two looks at what the sweep has used."""
REQUEUE = 180.0
"""Seconds within which Slurm ends a job whose requeue was asked for."""
ELSEWHERE = 15.0
"""Seconds between two looks at a trial that somebody else trains at this moment."""
AGAIN = 2
"""Times that a run is started again here after it left without a word."""


class Leave(Exception):
    """This worker is to end now; its job stays begun, and goes on when the worker is back or another takes it over."""


@dataclass
class Carrier:
    """A worker's hands."""

    sweep: SweepFolder
    search: Search
    study: Study
    owner: Owner
    lease: Lease
    notices: Notices
    origin: Origin
    """The code of all its trials, as it was when the worker began."""
    _spent_at: float = field(default=-SPEND)
    _spent: float = field(default=0.0)

    def carry_out(self, job: Job) -> Outcome | None:
        """Do a job and tell the study how it ended; None where it came to nothing. Raises Leave."""
        resolved = self.search.resolve(self.search.used(job.values))
        claim = freeze(resolved, origin=self.origin)
        try:
            while claim.handle is None or (not claim.created and self._is_elsewhere(claim.folder)):
                if job.first:
                    self.study.void(job, "the run is under way elsewhere")
                    return None
                # A trial of this search already: it goes on from where the other one leaves it.
                claim.release()
                self._pause(ELSEWHERE)
                claim = freeze(resolved, origin=self.origin)
            self._record(job, claim, resolved)
            found = self._train(job, claim.folder, resolved)
        finally:
            claim.release()
        self._tell(job, found)
        return found

    def _tell(self, job: Job, found: Outcome) -> None:
        if found.kind == "completed":
            self.study.complete(job, list(found.values))
        elif found.kind == "paused":
            self.study.pause(job, found.step, found.values[0])
        else:
            self.study.fail(job, found.cause)

    def _is_elsewhere(self, folder: RunFolder) -> bool:
        """Whether somebody else trains this run at this moment."""
        ids = job_ids([folder])
        if not ids or self.owner.job_id in ids:
            state = state_of(folder, queue.Queue(True))
            return self.owner.job_id not in ids and state.status in ACTIVE
        return state_of(folder, queue.look(ids)).status in ACTIVE

    def _record(self, job: Job, claim: Claim, resolved: Resolved) -> None:
        """List the trial, and give its run the assets of one that is trained on the same."""
        point = typed(self.search.used(job.values))
        line = {
            "number": job.trial,
            "run_id": claim.folder.id,
            "values": {name: value_of(name, text) for name, text in point.items()},
            "group": job.trial,
            "shape": 0,
        }
        known = self.sweep.trials()
        if all(trial["number"] != job.trial for trial in known):
            self.sweep.append_trial(line)
        if claim.created:
            self._share_assets(resolved, claim.folder, [run_of(self.sweep, trial) for trial in known])
        self.lease.write(trial=job.trial, run_id=claim.folder.id)

    def _share_assets(self, run: Resolved, folder: RunFolder, others: list[RunFolder]) -> None:
        """Give a new run the weights and rows that were prepared for the sweep, or for a trial with the same."""
        key = assets.key(run.config)
        found = [each["assets"] for each in self.sweep.sweep().get("assets") or [] if each["key"] == key]
        found += [
            prepared
            for other in others
            if other.path != folder.path
            and (prepared := other.manifest().get("assets"))
            and assets.key(other.config()) == key
        ]
        if found:
            assets.give(folder, found[0])

    def _train(self, job: Job, folder: RunFolder, resolved: Resolved) -> Outcome:
        """Start the run as often as it takes. Raises Leave."""
        rungs = self.search.rungs
        stop_at = rungs[job.rung] if job.rung < len(rungs) - 1 else None
        for _ in range(AGAIN + 1):
            found = outcome(folder, self.search.goals, stop_at)
            if self._is_done(job, folder, found, stop_at):
                return found
            if self.notices.leaving:
                raise Leave
            child = start(resolved.config, folder, self.owner.job_id, stop_at)
            try:
                self._follow(job, child, folder, resolved.config, stop_at)
            finally:
                child.end()
            found = outcome(folder, self.search.goals, stop_at)
            if found.kind != "unfinished":
                return found
            self._await_requeue(folder, child)
        return Outcome("failed", cause=f"the run left without a word {AGAIN + 1} times; see its logs")

    def _is_done(self, job: Job, folder: RunFolder, found: Outcome, stop_at: int | None) -> bool:
        """Whether a job needs no start: its run had come as far before this worker went on with it."""
        if found.kind == "completed":
            return True
        if found.kind == "paused" and stop_at is not None:
            return found.step == stop_at
        # What ended before the job began is tried again; what ended in it, and could not be told, is told now.
        return found.kind in ("failed", "paused") and ended_at(folder) > self._begun(job)

    def _begun(self, job: Job) -> str:
        """When a job began, by the first of the workers that had it: ISO 8601 in UTC."""
        while job.after is not None:
            job = self.study.job(job.after)
        begun = job.frozen.datetime_start
        return "" if begun is None else begun.astimezone(UTC).isoformat(timespec="milliseconds")

    def _follow(self, job: Job, child: Child, folder: RunFolder, config: RunConfig, stop_at: int | None) -> None:
        """Watch a run until its process has ended."""
        while child.running:
            for number in self.notices.take():
                child.tell(number)
            self.lease.beat()
            if stop_at is None and not folder.stop_file.exists() and self._is_hopeless(job, folder):
                write_json(folder.stop_file, {"reason": "pruned"})
            if self.over_budget() and not folder.stop_file.exists():
                write_json(folder.stop_file, {"reason": "stopped"})
            time.sleep(LOOK)

    def _is_hopeless(self, job: Job, folder: RunFolder) -> bool:
        """Tell the study what was measured on the way; whether its pruner gives the trial up."""
        if self.search.settings.prune == "none" or len(self.search.goals) > 1:
            return False
        for step, loss in evaluations(folder).items():
            if loss is not None:
                self.study.report(job, step, loss)
        return self.study.gives_up(job)

    def over_budget(self, count: bool = False) -> bool:
        """Whether the sweep has used up its device-hours; unless `count`, as they were counted not long ago."""
        limit = self.search.budget.gpu_hours
        if limit is None:
            return False
        if count or time.monotonic() - self._spent_at > SPEND:
            self._spent_at = time.monotonic()
            folders = [run_of(self.sweep, trial) for trial in self.sweep.trials()]
            self._spent = sum(gpu_hours(folder, not folder.result()) for folder in folders)
        return self._spent >= limit

    def _await_requeue(self, folder: RunFolder, child: Child) -> None:
        """A run that has left to go on later: where Slurm was asked for that, it will end this process."""
        if self.notices.leaving:
            raise Leave
        asked = [line for line in folder.events() if line.get("event") == "requeued"]
        if asked and asked[-1]["attempt"] >= child.attempt:
            self._pause(REQUEUE)
            raise Leave

    def _pause(self, seconds: float) -> None:
        """Wait, as a worker that lives. Raises Leave where it is told to."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.notices.leaving:
                raise Leave
            self.lease.beat()
            time.sleep(LOOK)
