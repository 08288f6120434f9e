"""The trials of a sweep as they stand now: what was varied, what came of it, what it took, and why it failed."""

from dataclasses import dataclass
from typing import Any

from conf.folder import RunFolder
from launcher.runs import is_run
from launcher.status import describe
from sweeps.cost import gpu_hours
from sweeps.folder import SweepFolder, run_of
from sweeps.ranking import Objective, number

FAILED = ("failed", "lost")
"""States of a trial that nothing will mend by itself."""
WAITING = "waiting"
"""State of a trial that has not been submitted yet."""


@dataclass(frozen=True)
class Trial:
    """One trial as it stands now."""

    number: int
    run_id: str
    folder: RunFolder
    values: dict[str, Any]
    """What the sweep varies, with this trial's values."""
    group: int
    """Its configuration; repeats over seeds share one."""
    state: str
    """As launcher.state.State.status; `waiting` where it has not been submitted yet."""
    cause: str | None
    message: str
    job_id: str | None
    step: int
    steps: int | None
    """Optimizer steps made, and in all."""
    metrics: dict[str, float | None]
    """The numbers of its result; of a trial without one the last that it has recorded."""
    gpu_hours: float
    attempts: int

    @property
    def completed(self) -> bool:
        """Whether it was trained to its end."""
        return self.state == "completed"

    def why(self) -> str:
        """Cause and message of its end in a line of words; empty where there is nothing to say."""
        known = self.cause not in (None, self.state, "unknown")
        # How a single run goes on is not what a sweep's reader should type.
        message = self.message.partition("\n")[0].partition("; to go on type ")[0]
        return ": ".join(part for part in (str(self.cause).replace("_", " ") if known else "", message) if part)


def read_trials(sweep: SweepFolder, goals: list[Objective]) -> tuple[list[Trial], str | None]:
    """All trials in order of their numbers, with one question to Slurm for all; and why there was no answer."""
    listed = sweep.trials()
    folders = {line["run_id"]: run_of(sweep, line) for line in listed}
    rows, complaint = describe([folder for folder in folders.values() if is_run(folder.path)])
    states = {row["run_id"]: row for row in rows}
    trials = [_trial(line, folders[line["run_id"]], states.get(line["run_id"]), goals) for line in listed]
    return trials, complaint


def _trial(line: dict[str, Any], folder: RunFolder, row: dict[str, Any] | None, goals: list[Objective]) -> Trial:
    row = row or {"status": "new"}
    started = row["status"] != "new"
    return Trial(
        number=line["number"],
        run_id=line["run_id"],
        folder=folder,
        values=dict(line.get("values", {})),
        group=line.get("group", line["number"]),
        state=row["status"] if started else WAITING,
        cause=row.get("cause"),
        message=(row.get("message") or "") if started else "",
        job_id=row.get("job_id"),
        step=row.get("step") or 0,
        steps=row.get("steps"),
        metrics=_metrics(row, folder.result() if started else {}, goals),
        gpu_hours=gpu_hours(folder, row["status"] == "running") if started else 0.0,
        attempts=row.get("attempts", 0),
    )


def _metrics(row: dict[str, Any], result: dict[str, Any], goals: list[Objective]) -> dict[str, float | None]:
    """The usual numbers and the objectives, from the result's own `metrics` where they are not among its fields."""
    names = dict.fromkeys(["eval_loss", "train_loss", "tokens_per_second", *(goal.metric for goal in goals)])
    more = result.get("metrics") or {}
    return {name: number(row.get(name, result.get(name, more.get(name)))) for name in names}
