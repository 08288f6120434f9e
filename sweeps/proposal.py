"""What a worker does next: go on with its own job, take over a lost one, promote a trial, or begin a new one."""

import random
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import Trial

from conf.schema.problems import ConfigProblems
from sweeps import owner as owners
from sweeps.asha import promotion
from sweeps.folder import SweepFolder
from sweeps.owner import Owner
from sweeps.search import MOST_GRID, Search, Values
from sweeps.space import typed
from sweeps.study import Job, Study, draw

TRIES = 100
"""Points in a row that come to nothing, forbidden or had before, after which a space counts as used up."""


@dataclass
class Proposer:
    """Finds a worker's next job."""

    sweep: SweepFolder
    search: Search
    study: Study
    owner: Owner

    def next(self) -> Job | None:
        """The job to do now, begun in this worker's name; None where there is nothing left for it to do."""
        return self._own() or self._lost() or (None if self.study.ended else self._promoted() or self._fresh())

    def _own(self) -> Job | None:
        """What this worker was about before it was requeued."""
        for job in self.study.jobs():
            if job.running and self.owner.is_mine(job.owner):
                if job.run_id is not None and not self._continued(job):
                    return job
                self.study.void(job, "its worker was interrupted before the run was known")
        return None

    def _lost(self) -> Job | None:
        """A trial whose worker is gone."""
        running = [job for job in self.study.jobs() if job.running and not self.owner.is_mine(job.owner)]
        for job, gone in zip(running, owners.lost(self.sweep, (job.owner for job in running)), strict=True):
            if not gone:
                continue
            if job.run_id is None:
                self.study.void(job, "its worker was lost before the run was known")
                continue
            mine = None if self._continued(job) else self.study.go_on(job, job.rung, self.owner.dump(), job.number)
            self.study.void(job, "its worker was lost, another goes on with the trial")
            if mine is not None:
                return mine
        return None

    def _continued(self, job: Job) -> bool:
        return any(other.after == job.number and other.void is None for other in self.study.jobs())

    def _promoted(self) -> Job | None:
        """A trial that has earned its next rung."""
        steps = self.search.rungs
        while steps:
            jobs = [job for job in self.study.jobs() if job.void is None]
            reached, begun = standing(jobs, len(steps))
            chosen = promotion(reached, begun, self.search.settings.eta, closing=not self._room(jobs))
            if chosen is None:
                return None
            trial, rung = chosen
            last = next(job for job in reversed(jobs) if job.trial == trial)
            mine = self.study.go_on(last, rung + 1, self.owner.dump())
            if mine is not None:
                return mine
        return None

    def _room(self, jobs: list[Job]) -> bool:
        """Whether further trials may begin."""
        begun = {job.trial: self._key(job) for job in jobs}
        return len(begun) < self.search.limit and len(set(begun.values())) < self.search.space.size

    def _fresh(self) -> Job | None:
        """A new trial, at a point that no other has."""
        for _ in range(TRIES):
            jobs = [job for job in self.study.jobs() if job.void is None]
            if not self._room(jobs):
                return None
            trial = self.study.begin(self.owner.dump(), self._planned(jobs))
            values = self._draw(trial)
            job = self.study.job(trial.number)
            why = self._settle(job, values)
            if why is None:
                return self.study.job(trial.number)
            self.study.void(job, why)
        self.study.end(f"{TRIES} points in a row were forbidden or had been tried before: the space is used up")
        return None

    def _planned(self, jobs: list[Job]) -> Values | None:
        """A known point that nobody has tried; of a small space whose points are nearly all tried one that is left."""
        # The points that came to nothing count, too: they would again.
        tried = {self._key(job) for job in self.study.jobs() if job.first}
        for values in self.search.known_points():
            if _key(values) not in tried:
                return values
        size = self.search.space.size
        if size <= MOST_GRID and 2 * len(tried) >= size:
            left = [values for values in map(self.search.used, self.search.space.grid()) if _key(values) not in tried]
            if left:
                return random.Random(f"{self.search.settings.sampler_seed} {len(tried)}").choice(left)
        return None

    def _key(self, job: Job) -> tuple[tuple[str, str], ...]:
        return _key(self.search.used(job.values))

    def _draw(self, trial: Trial) -> Values:
        """A point, drawn by the sampler. Categories come first, and decide what else is in use."""
        self.study.study.sampler = sampler(self.search, trial.number)
        axes = self.search.space.axes
        values = {axis.name: draw(trial, axis) for axis in axes if axis.choices}
        in_use = self.search.in_use(values)
        numbers = {axis.name: draw(trial, axis) for axis in axes if not axis.choices and axis.name in in_use}
        return {name: value for name, value in (values | numbers).items() if name in in_use}

    def _settle(self, job: Job, values: Values) -> str | None:
        """Find the run of a new trial; why it comes to nothing, where it does."""
        earlier = {other.trial for other in self.study.jobs() if other.void is None and other.trial < job.number}
        if len(earlier) >= self.search.limit:
            return "another worker began the last trial"
        if self.search.excluded(values):
            return "left out by sweep.exclude"
        try:
            resolved = self.search.resolve(values)
        except ConfigProblems as error:
            return "forbidden: " + "; ".join(problem.message for problem in error.problems if not problem.warning)

        run_id = resolved.folder.id
        self.study.mark(job, run_id=run_id)
        # Looked at only now: of two workers at one point the first in the study's order keeps it.
        others = [other for other in self.study.jobs() if other.number < job.number and other.void is None]
        if any(other.run_id == run_id for other in others):
            return f"the same run as an earlier trial, {run_id}"
        return None


def standing(jobs: list[Job], rungs: int) -> tuple[list[dict[int, float]], list[set[int]]]:
    """Where the trials of an asha search stand: for each rung the losses of those that have reached it, and those that
    have been let towards it. A trial whose run failed is out of the race."""
    reached: list[dict[int, float]] = [{} for _ in range(rungs)]
    begun: list[set[int]] = [set() for _ in range(rungs)]
    out = {job.trial for job in jobs if job.failed}
    for job in jobs:
        if job.trial in out:
            continue
        begun[job.rung].add(job.trial)
        if job.value is not None and not job.running:
            reached[job.rung][job.trial] = job.value
    return reached, begun


def sampler(search: Search, number: int) -> BaseSampler:
    """What draws the point of job `number`: the same for the same results so far, another for each job."""
    seed = (search.settings.sampler_seed * 1_000_003 + number) % 2**32
    if search.settings.search == "random":
        return RandomSampler(seed=seed)
    liar = (search.settings.parallel or 1) > 1
    with warnings.catch_warnings():
        # A running trial counts as a bad one meanwhile, or all workers would try the same. Optuna warns of the option.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(seed=seed, n_startup_trials=search.settings.startup, constant_liar=liar)


def _key(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(typed(values).items()))
