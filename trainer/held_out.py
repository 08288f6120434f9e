"""The loss over held-out rows, whatever the batches and the training loss are."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

LOOK_EACH = 8
"""Batches between two looks for a notice."""


def mean_loss(trainer: Any) -> float | None:
    """Mean negative log-likelihood of the trained tokens of all held-out rows of a trainer (RunTrainer), in nats; None
    where the workers were told to leave in the middle of it. All ranks. Draws no random number."""
    rows = trainer._remove_unused_columns(trainer.eval_dataset, description="Evaluation")
    world, rank, size = trainer.args.world_size, trainer.args.process_index, trainer.args.per_device_eval_batch_size
    starts = range(0, len(rows), size)
    trainer.model.eval()
    sums = torch.zeros(2, dtype=torch.float64)
    # Sharded models talk in each forward pass: all ranks make the same number, some of them for nothing.
    for turn in range(-(-len(starts) // world)):
        trainer.recorder.alive()
        if turn % LOOK_EACH == LOOK_EACH - 1 and trainer.boundary.must_leave():
            trainer._metrics["eval"].clear()
            return None
        number = turn * world + rank
        start = starts[number] if number < len(starts) else 0
        batch = trainer.data_collator([rows[row] for row in range(start, min(start + size, len(rows)))])
        tokens = int((batch["labels"][:, 1:] != -100).sum())
        with torch.no_grad(), trainer.compute_loss_context_manager(), _plain_loss(trainer.args):
            loss = trainer.compute_loss(trainer.model, trainer._prepare_inputs(batch))
        if number < len(starts):
            sums += torch.tensor([float(loss) * tokens, tokens], dtype=torch.float64)
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(sums)
    trainer._metrics["eval"].clear()
    return float(sums[0] / sums[1].clamp(min=1))


@contextmanager
def _plain_loss(args: Any) -> Iterator[None]:
    trained_on, args.loss_type = args.loss_type, "nll"
    try:
        yield
    finally:
        args.loss_type = trained_on
