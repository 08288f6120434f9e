"""Sweeps as their folders look at some moment, made without a launcher and a trainer."""

import itertools
from pathlib import Path
from typing import Any

import yaml

from conf.folder import RunFolder, append_line, write_json
from sweeps.folder import SweepFolder
from tests.launcher import folders

START = "2026-01-01T10:00:00.000+00:00"
HOUR_LATER = "2026-01-01T11:00:00.000+00:00"


def sweep(root: Path, name: str = "ranks", **record: Any) -> SweepFolder:
    """A sweep without trials."""
    folder = SweepFolder(root / name)
    folder.path.mkdir(parents=True)
    told = {"version": 1, "sweep_id": name, "kind": "grid", "words": [["model=m", "cluster=8xh100", "adapter.r=8,16"]]}
    folder.write_sweep(told | {"metric": "eval_loss", "objectives": None} | record)
    return folder


def trial(
    folder: SweepFolder, values: dict[str, Any], group: int | None = None, run_id: str | None = None
) -> RunFolder:
    """One more trial, frozen and not submitted: 1 node of 8 devices, 100 steps."""
    number = len(folder.trials())
    run_id = run_id or f"trial-{number}"
    folder.append_trial(
        {"number": number, "run_id": run_id, "values": values, "group": number if group is None else group, "shape": 0}
    )
    run = folders.run(folder.path.parent, run_id, cluster={"devices_per_node": 8})
    words = ["model=m", "cluster=8xh100", *(f"{name}={value}" for name, value in values.items())]
    run.overrides_file.write_text(yaml.safe_dump(words))
    return run


def begun(run: RunFolder, number: int = 1, steps: int = 100, loss: float = 2.0, last: int | None = None) -> RunFolder:
    """An attempt that started at START on one node and made steps; its held-out loss falls to `loss`."""
    folders.submitted(run, f"77_{number}")
    run.attempt_folder(number).mkdir()
    record = {"attempt": number, "job_id": "77_1", "nodes": ["n1"], "started": START, "ended": None, "cause": None}
    write_json(run.attempt_folder(number) / "attempt.json", record)
    run.append_event("started", number, nodes=["n1"], world_size=8)
    run.append_event("data_ready", number, steps=steps)
    for step in range(1, (last or steps) + 1):
        line = {"step": step, "loss": 4 - (4 - loss) * step / steps, "learning_rate": 1e-4 * step, "grad_norm": 1.0}
        append_line(run.metrics_file, line | {"tokens": 100, "seconds": 0.5, "t": START})
        if step % 20 == 0:
            held_out = 4 - (4 - loss) * step / steps
            append_line(run.metrics_file, {"step": step, "eval_loss": held_out, "t": START})
            run.append_event("evaluated", number, step, eval_loss=held_out)
    return run


def ended(run: RunFolder, cause: str, number: int = 1, message: str | None = None) -> RunFolder:
    """That attempt ended an hour after it began."""
    record = {"attempt": number, "job_id": "77_1", "nodes": ["n1"], "started": START, "ended": HOUR_LATER}
    write_json(run.attempt_folder(number) / "attempt.json", record | {"cause": cause, "message": message})
    return run


def completed(run: RunFolder, loss: float, **more: Any) -> RunFolder:
    """Trained to its end with this held-out loss, in one attempt of an hour."""
    ended(begun(run, loss=loss), "completed")
    numbers = {"train_loss": loss + 0.1, "eval_loss_before": 4.0, "eval_loss": loss, "tokens_per_second": 1000.0}
    return folders.result(run, "completed", **(numbers | more))


def failed(run: RunFolder, cause: str = "out_of_memory", message: str = "rank 3: CUDA out of memory") -> RunFolder:
    """Failed half-way."""
    ended(begun(run, last=50), cause, message=message)
    return folders.result(run, "failed", cause=cause, message=message, step=50)


def grid(root: Path, name: str = "ranks", **record: Any) -> SweepFolder:
    """A sweep of ranks x learning rates x 2 seeds: rank 16 with 0.001 is best; all trials but two have completed."""
    folder = sweep(root, name, **record)
    rates, ranks, seeds = (1e-4, 1e-3, 1e-2), (8, 16, 32), (1, 2)
    for group, (rank, rate) in enumerate(itertools.product(ranks, rates)):
        for seed in seeds:
            values = {"adapter.r": rank, "method.learning_rate": rate, "seed": seed}
            loss = 2.0 + abs(rank - 16) / 100 + (0 if rate == 1e-3 else 0.3 if rate < 1e-3 else 0.6) + seed / 200
            run = trial(folder, values, group)
            if (rank, rate) == (32, 1e-2):
                failed(run) if seed == 1 else folders.submitted(run, "77_18")
            else:
                completed(run, loss)
    return folder
