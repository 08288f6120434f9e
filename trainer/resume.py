"""resume.json of a checkpoint: what it knows of the run beside weights and the libraries' own states. Versioned."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainer.failure import WorkerError

FILE = "resume.json"
"""In every checkpoint; written last before its digests."""
VERSION = 1
"""Of the file. A checkpoint of a newer one is refused, an older one is read as what it was."""
_BEFORE = "layout.json"
"""What checkpoints had before there were versions: strategy and world alone."""


@dataclass(frozen=True)
class Best:
    """The checkpoint with the lowest held-out loss."""

    step: int
    eval_loss: float
    """Mean over the trained tokens of the held-out rows, in nats."""


@dataclass(frozen=True)
class ResumeState:
    """What the next attempt takes up.

    Elsewhere lie: weights, optimiser, schedule, gradient scaler and each rank's random numbers in files of the
    libraries beside this one; budgets by cause in attempts/*/attempt.json; the history of losses in metrics.jsonl. The
    sums of a line of metrics are empty at every checkpoint, since a line is written before it."""

    step: int
    strategy: str
    """parallel.strategy of the workers that wrote it."""
    world: int
    """How many they were."""
    nodes: int | None = None
    micro: int | None = None
    accumulation: int | None = None
    """Their cluster.nodes, batch.micro and batch.accumulation, to say what differs in an attempt that goes on."""
    rows: int | None = None
    """Sequences drawn so far, over all workers. Which they were follows from the seed: trainer/order.py."""
    sequences: int | None = None
    """Sequences (after packing, which is done once) of one pass."""
    tokens: int = 0
    """Non-padding tokens trained so far over all workers and attempts."""
    seconds: float = 0.0
    """Time of all steps so far, without evaluations and checkpoints."""
    evaluated: int | None = None
    """The last step whose evaluation is counted in `best` and `waited`."""
    best: Best | None = None
    lowest: float | None = None
    """Lowest held-out loss that early stopping has seen; None before the first."""
    waited: int = 0
    """Evaluations in a row without a lower one."""

    @property
    def passes(self) -> float:
        """Position in the data: 1.25 is a quarter into the second pass."""
        return self.rows / self.sequences if self.rows and self.sequences else 0.0


def write(folder: Path, state: ResumeState) -> None:
    """Write the state of a checkpoint into its folder, before it is committed."""
    values = {"version": VERSION, **asdict(state), "passes": round(state.passes, 6)}
    (folder / FILE).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def read(folder: Path) -> ResumeState:
    """The state of a committed checkpoint, of this version or an older one.

    Raises WorkerError where a newer Slurmwright wrote it, or it is not of this form."""
    try:
        if not (folder / FILE).exists():
            return _of_version_0(folder)
        values: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
        version = values.pop("version")
        if version > VERSION:
            raise WorkerError(
                f"{folder} was written by a newer Slurmwright: its {FILE} is of version {version}, and this one reads "
                f"up to {VERSION}. Upgrade Slurmwright, or move that folder away to go on from the checkpoint before it"
            )
        del values["passes"]
        best = values.pop("best")
        return ResumeState(**values, best=None if best is None else Best(**best))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise WorkerError(
            f"{folder / FILE} cannot be read ({error}): move {folder.name} away to go on from the checkpoint before it"
        ) from error


def why_other_rows(state: ResumeState, sequences: int) -> str | None:
    """Why a run over so many sequences cannot go on from it, in words; None when it can."""
    if state.sequences in (None, sequences):
        return None
    return (
        f"the checkpoint of step {state.step} was trained on {state.sequences} sequences a pass, and the prepared data "
        f"now has {sequences}: prepare the data as it was, or start a new run with name="
    )


def _of_version_0(folder: Path) -> ResumeState:
    """Counters of early stopping were kept by transformers then; the others begin anew."""
    layout = json.loads((folder / _BEFORE).read_text(encoding="utf-8"))
    trained = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
    kept = (trained.get("stateful_callbacks") or {}).get("EarlyStopping", {}).get("attributes", {})
    step = int(trained["global_step"])
    every = int(trained.get("eval_steps") or 0)
    return ResumeState(
        step=step,
        strategy=layout["strategy"],
        world=int(layout["world"]),
        evaluated=step if every and step % every == 0 else None,
        lowest=kept.get("best"),
        waited=int(kept.get("waited", 0)),
    )
