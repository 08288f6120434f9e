"""A sweep on the private cluster whose trials are preempted one after another, and the same runs one by one."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from conf.folder import RunFolder, read_json
from sweeps.folder import SweepFolder, run_of
from tests.faults import inflict
from tests.slurm.cluster import Cluster
from tests.slurm.launching import Login, all_logs, completed
from tests.tiny import tiny_llama, tiny_rows

LATE = 0.6
"""Share of its steps after which a trial is left alone: it would be over before Slurm has sent its notice."""


@dataclass(frozen=True)
class Outcome:
    """One trial in the sweep and alone."""

    number: int
    values: dict[str, object]
    preemptions: int
    attempts: int
    job_id: str
    digest: str
    """sha256 of the adapter's weights."""
    alone: str | None
    """The same of the run by itself; None where it was not made."""


class SweepUnderPreemption:
    """A grid of small trials, each on a node of its own."""

    def __init__(self, cluster: Cluster, login: Login, steps: int) -> None:
        self.cluster, self.login, self.steps = cluster, login, steps
        model, rows = tiny_llama(login.folder / "tiny"), tiny_rows(login.folder / "rows.jsonl", 96)
        self.words = [
            "+model=hf", f"model.id={model}", "data=file", f"data.path={rows}", "data.max_length=64",
            "data.eval_rows=8", "batch.global=4", "batch.micro=2", f"method.max_steps={steps}",
            "adapter.dropout=0.1", "tracking=none",
            "cluster.devices_per_node=1", "site.exclusive=true", "checkpoint.interval=null",
        ]  # fmt: skip

    def prove(self, axes: Sequence[str], preemptions: int, compare: Sequence[int] | None = None) -> list[Outcome]:
        """Submit, preempt so many trials while they train, and compare some or all with runs of their own.

        Raises AssertionError where a trial does not complete."""
        document = self.login.launcher("+cluster=sandbox", *self.words, "-m", *axes, timeout=400)
        sweep = SweepFolder(document["folder"])
        hit = self._preempt(sweep, preemptions)
        folders = [run_of(sweep, trial) for trial in sweep.trials()]
        for folder in folders:
            completed(folder, timeout=900)
        wanted = range(len(folders)) if compare is None else compare
        alone = {number: self._alone(folders[number]) for number in wanted}
        found = []
        for trial, folder in zip(sweep.trials(), folders, strict=True):
            number = trial["number"]
            lone = weights(alone[number]) if number in alone and completed(alone[number], timeout=900) else None
            job = str(next(each["job_id"] for each in folder.events() if each["event"] == "submitted"))
            found.append(
                Outcome(
                    number,
                    trial["values"],
                    hit.count(folder.id),
                    len(folder.attempt_numbers()),
                    job,
                    weights(folder),
                    lone,
                )
            )
        return found

    def _preempt(self, sweep: SweepFolder, wanted: int) -> list[str]:
        """Preempt running trials, each once; their run ids."""
        hit: list[str] = []
        deadline = time.monotonic() + 600
        while len(hit) < wanted:
            assert time.monotonic() < deadline, f"only {len(hit)} of {wanted} trials could be preempted\n{_logs(sweep)}"
            for trial in sweep.trials():
                folder = run_of(sweep, trial)
                if folder.id not in hit and len(hit) < wanted and self._trains(folder):
                    inflict.preempt(self.cluster, _node(folder))
                    hit.append(folder.id)
            time.sleep(0.2)
        return hit

    def _trains(self, folder: RunFolder) -> bool:
        made = folder.metrics()
        return bool(made) and made[-1]["step"] < self.steps * LATE and not folder.result()

    def _alone(self, folder: RunFolder) -> RunFolder:
        """The same run from a command of its own, in another root."""
        words = yaml.safe_load(folder.overrides_file.read_text())
        return RunFolder(self.login.launcher(*words, f"run.root={self.login.folder / 'alone'}")["folder"])


def _node(folder: RunFolder) -> str:
    return str(read_json(folder.attempt_folder(folder.attempt_numbers()[-1]) / "attempt.json")["nodes"][0])


def weights(folder: RunFolder) -> str:
    """sha256 of a run's adapter."""
    file: Path = folder.adapter / "adapter_model.safetensors"
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _logs(sweep: SweepFolder) -> str:
    return "\n".join(all_logs(run_of(sweep, trial)) for trial in sweep.trials())
