"""The study of a search: Optuna's journal on the shared file system, and what of it is a matter of ours.

The journal gives all workers one order of events, and that order decides: no lock is held while anybody thinks. A
**job** is one of the study's trials: a piece of work that one worker has begun, namely a trial of the sweep up to its
end or, in an asha search, up to its next rung. A job has an owner from its first line on. Who goes on with a trial,
because it is promoted or because its worker is gone, adds a job of its own; of two that do so at once the first one
counts.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from launcher.errors import InputError
from sweeps.folder import SweepFolder
from sweeps.ranking import objectives
from sweeps.search import keep_options
from sweeps.space import Axis

NAME = "search"
"""Of the one study in a journal."""
_ENDED = "ended"
"""Attribute of the study: why no worker begins anything any more."""


@dataclass(frozen=True)
class Job:
    """One of the study's trials, as it stands now."""

    frozen: FrozenTrial

    @property
    def number(self) -> int:
        """Its place in the study's order."""
        return self.frozen.number

    @property
    def owner(self) -> dict[str, Any]:
        """Who has begun it, as sweeps.owner writes it."""
        return dict(self.frozen.user_attrs["owner"])

    @property
    def trial(self) -> int:
        """Number of the sweep's trial that it is about: that of the trial's first job."""
        return int(self.frozen.user_attrs.get("trial", self.number))

    @property
    def first(self) -> bool:
        """Whether it began its trial."""
        return "trial" not in self.frozen.user_attrs

    @property
    def rung(self) -> int:
        """Where in Search.rungs it is to end; 0 for any search without."""
        return int(self.frozen.user_attrs.get("rung", 0))

    @property
    def after(self) -> int | None:
        """The job whose owner was lost, where this one takes its place."""
        found = self.frozen.user_attrs.get("after")
        return None if found is None else int(found)

    @property
    def run_id(self) -> str | None:
        """The run, once it is known."""
        return self.frozen.user_attrs.get("run_id")

    @property
    def values(self) -> dict[str, Any]:
        """Its point in the space."""
        return dict(self.frozen.params)

    @property
    def running(self) -> bool:
        """Whether nobody has told how it ended."""
        return not self.frozen.state.is_finished()

    @property
    def void(self) -> str | None:
        """Why it counts for nothing, None where it does."""
        return self.frozen.user_attrs.get("void")

    @property
    def failed(self) -> bool:
        """Whether its run failed."""
        return self.frozen.state == TrialState.FAIL and self.void is None

    @property
    def cause(self) -> str | None:
        """Why its run failed."""
        return self.frozen.user_attrs.get("cause")

    @property
    def completed(self) -> bool:
        """Whether its run was trained to its end."""
        return self.frozen.state == TrialState.COMPLETE

    @property
    def value(self) -> float | None:
        """Its first objective: at the end, or where it was paused or pruned."""
        return self.frozen.values[0] if self.frozen.values else None


class Journal(JournalFileBackend):
    """Optuna's file of operations, mended where a writer was killed: a line that was never completed goes.

    Optuna would write the next line behind it, and nobody could read the study any more."""

    def __init__(self, path: Path) -> None:
        self._path = path
        super().__init__(str(path), _MendingLock(path))


class _MendingLock(JournalFileSymlinkLock):
    """Under the lock an incomplete line has no writer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        super().__init__(str(path))

    def acquire(self) -> bool:
        """Wait for the lock, and mend the file. True once both are done."""
        got = super().acquire()
        _cut_incomplete_line(self._path)
        return got


def _cut_incomplete_line(path: Path) -> None:
    with open(path, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        end = size
        while end:
            start = max(0, end - 65536)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            file.truncate(end)
            os.fsync(file.fileno())


class Study:
    """The study of one sweep."""

    def __init__(self, sweep: SweepFolder) -> None:
        """Open the journal, which `create` has made. Raises InputError where it is not there."""
        if not sweep.study.is_file():
            raise InputError(f"{sweep.id} has no {sweep.study.name}: type its command again, which makes it")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.storage = JournalStorage(Journal(sweep.study))
        self.study = optuna.load_study(study_name=NAME, storage=self.storage)

    @cached_property
    def _id(self) -> int:
        return self.storage.get_study_id_from_name(NAME)

    def jobs(self) -> list[Job]:
        """All jobs in order, as the journal has them now."""
        return [Job(frozen) for frozen in self.study.get_trials(deepcopy=False)]

    def job(self, number: int) -> Job:
        """One job as the journal has it now."""
        return self.jobs()[number]

    def begin(self, owner: Mapping[str, Any], fixed: Mapping[str, Any] | None = None) -> Trial:
        """Begin a trial of the sweep; its point is yet to be drawn, but for what is `fixed`."""
        system = {"fixed_params": dict(fixed)} if fixed is not None else {}
        template = create_trial(state=TrialState.RUNNING, user_attrs={"owner": dict(owner)}, system_attrs=system)
        return Trial(self.study, self.storage.create_new_trial(self._id, template))

    def go_on(self, job: Job, rung: int, owner: Mapping[str, Any], after: int | None = None) -> Job | None:
        """Begin a further job of a job's trial: up to a rung, or in place of one whose owner is lost.

        None where somebody was faster: theirs counts."""
        marks = {"owner": dict(owner), "trial": job.trial, "rung": rung, "run_id": job.run_id}
        if after is not None:
            marks["after"] = after
        template = create_trial(
            state=TrialState.RUNNING,
            params=job.frozen.params,
            distributions=job.frozen.distributions,
            user_attrs=marks,
        )
        number = self.storage.get_trial(self.storage.create_new_trial(self._id, template)).number
        mine = self.job(number)
        if any(_same_work(mine, other) for other in self.jobs()[:number]):
            self.void(mine, "another worker was faster")
            return None
        return mine

    def mark(self, job: Job, **attributes: Any) -> None:
        """Note something about a job; no effect once it has ended."""
        try:
            for name, value in attributes.items():
                self.storage.set_trial_user_attr(job.frozen._trial_id, name, value)
        except UpdateFinishedTrialError:
            pass

    def report(self, job: Job, step: int, value: float) -> None:
        """An intermediate value; no effect for a step that has one, or once the job has ended."""
        if step not in self.job(job.number).frozen.intermediate_values:
            try:
                self.storage.set_trial_intermediate_value(job.frozen._trial_id, step, value)
            except UpdateFinishedTrialError:
                pass

    def void(self, job: Job, why: str) -> None:
        """End a job that counts for nothing."""
        self.mark(job, void=why)
        self._tell(job, TrialState.FAIL, None)

    def fail(self, job: Job, cause: str) -> bool:
        """End a job whose run failed. False where it had ended before."""
        self.mark(job, cause=cause)
        return self._tell(job, TrialState.FAIL, None)

    def pause(self, job: Job, step: int, value: float) -> bool:
        """End a job that was stopped before its run's end. False where it had ended before."""
        self.report(job, step, value)
        return self._tell(job, TrialState.PRUNED, None)

    def complete(self, job: Job, values: list[float]) -> bool:
        """End a job whose run was trained to its end. False where it had ended before."""
        return self._tell(job, TrialState.COMPLETE, values)

    def _tell(self, job: Job, state: TrialState, values: list[float] | None) -> bool:
        if not self.job(job.number).running:
            return False
        try:
            self.study.tell(job.number, values, state=state)
        except (UpdateFinishedTrialError, ValueError):
            return False  # told by somebody else in this very moment
        return True

    def gives_up(self, job: Job) -> bool:
        """Whether a trial is worse than the median of the others at the same step: Optuna's MedianPruner, which begins
        after five trials."""
        return bool(optuna.pruners.MedianPruner().prune(self.study, self.job(job.number).frozen))

    @property
    def ended(self) -> str | None:
        """Why no worker begins anything any more; None while they do."""
        return self.study.user_attrs.get(_ENDED) or None

    def end(self, why: str) -> None:
        """Let no worker begin anything any more; "" lets them again."""
        self.study.set_user_attr(_ENDED, why)


def _same_work(one: Job, other: Job) -> bool:
    """Whether two jobs are the same piece of work."""
    if other.void is not None or one.trial != other.trial:
        return False
    if one.after is not None:
        return other.after == one.after
    return other.after is None and other.rung == one.rung


def create(sweep: SweepFolder) -> None:
    """Make the journal of a sweep's study, whole or not at all; nothing where there is one."""
    if sweep.study.is_file():
        return
    keep_options(sweep)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    fresh = sweep.study.with_name(f".{sweep.study.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    directions = [goal.direction for goal in objectives(sweep.sweep())]
    optuna.create_study(study_name=NAME, storage=JournalStorage(JournalFileBackend(str(fresh))), directions=directions)
    fresh.chmod(0o600)
    try:
        os.link(fresh, sweep.study)
    except FileExistsError:
        pass  # somebody was faster
    finally:
        fresh.unlink()


def draw(trial: Trial, axis: Axis) -> Any:
    """A value for a trial on an axis."""
    found = distribution(axis)
    if isinstance(found, CategoricalDistribution):
        return trial.suggest_categorical(axis.name, found.choices)
    if isinstance(found, IntDistribution):
        return trial.suggest_int(axis.name, found.low, found.high, step=found.step, log=found.log)
    assert isinstance(found, FloatDistribution)
    return trial.suggest_float(axis.name, found.low, found.high, step=found.step, log=found.log)


def distribution(axis: Axis) -> BaseDistribution:
    """An axis in Optuna's words."""
    if axis.choices:
        return CategoricalDistribution(axis.choices)
    if axis.integer:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log, step=int(axis.step or 1))
    return FloatDistribution(axis.low, axis.high, log=axis.log, step=axis.step)
