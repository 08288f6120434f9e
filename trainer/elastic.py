"""A run that goes on with another number of nodes or workers: what it resumes from, and what changed, in words.

Nothing of the result is up to the layout: the rows of a step and the schedule follow from the seed and the step alone
(`trainer/order.py`), the launcher keeps the global batch and derives the accumulation anew. What does depend on it is
the state that each worker had for itself: its random numbers (here) and, with ZeRO, its share of the optimiser
(`trainer/reshard.py`)."""

import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from conf.schema.run import RunConfig
from trainer import parallel, resume

NAMES = {
    "nodes": "nodes",
    "world": "workers",
    "micro": "batch.micro",
    "accumulation": "batch.accumulation",
}
"""What may differ between two attempts of a run: its name in a checkpoint's resume.json, and that for people."""


def layout_of(config: RunConfig, world: int) -> dict[str, Any]:
    """How a run lies over `world` workers: what its checkpoints note down of who wrote them."""
    return {
        "strategy": config.parallel.strategy,
        "world": world,
        "nodes": config.cluster.nodes,
        "micro": config.batch.micro,
        "accumulation": config.batch.accumulation,
    }


def changes(path: Path, now: Mapping[str, Any]) -> dict[str, list[int]]:
    """What differs between who wrote a checkpoint and who goes on from it (`layout_of`): name -> [then, now]."""
    then = asdict(resume.read(path))
    return {
        name: [then[key], now[key]] for key, name in NAMES.items() if then[key] is not None and then[key] != now[key]
    }


def in_words(changed: Mapping[str, list[int]]) -> str:
    """`workers 4 -> 2, batch.accumulation 1 -> 2; global batch, schedule and order of rows stay`."""
    parts = ", ".join(f"{name} {then} -> {now}" for name, (then, now) in changed.items())
    return f"{parts}; global batch, schedule and order of rows stay"


def source_of(path: Path, strategy: str, world: int, each: Callable[[], None]) -> Path:
    """The folder to resume from: the checkpoint itself, or a copy that is laid out for `world` workers.

    One process calls this, and `discard` once all have read. Of an attempt that ended in between the next one removes
    the copy with its other leftovers, by its name.
    Raises WorkerError where the states cannot be laid out anew, OSError where the disk is full."""
    written = resume.read(path).world
    if strategy not in parallel.ZERO or written == world:
        return path
    from trainer import reshard

    copy = path.with_name(f".partial-{path.name}-for-{world}")
    reshard.reshard(path, copy, written, world, each)
    return copy


def discard(checkpoints: Path) -> None:
    """Remove a copy that all workers have read, where there is one."""
    for copy in checkpoints.glob(".partial-step-*-for-*"):
        shutil.rmtree(copy, ignore_errors=True)


def load_random_state(path: Path, rank: int, seed: int, step: int) -> None:
    """Set the random numbers (dropout) of a worker that goes on from a checkpoint of another number of workers.

    A worker whose rank there was goes on with that rank's. Any other draws a seed of its own from the run's seed, the
    step and its rank, which no worker has had before."""
    import numpy
    import torch
    from transformers import set_seed
    from transformers.trainer_pt_utils import safe_globals

    written = resume.read(path).world
    if rank >= written:
        numbers = numpy.random.SeedSequence([seed, step, rank])
        set_seed(int(numbers.generate_state(1)[0]))
        return
    file = path / ("rng_state.pth" if written == 1 else f"rng_state_{rank}.pth")
    with safe_globals():
        state = torch.load(file, weights_only=True)
    random.setstate(state["python"])
    numpy.random.set_state(state["numpy"])
    torch.random.set_rng_state(state["cpu"])
    if torch.cuda.is_available() and "cuda" in state:
        # Of several workers each notes down all devices of its node, of which it used one; not yet run on a GPU.
        devices = state["cuda"] if isinstance(state["cuda"], list) else [state["cuda"]]
        torch.cuda.random.set_rng_state(devices[rank % len(devices)])
