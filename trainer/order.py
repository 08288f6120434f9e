"""Which rows a step trains on: the same for any number of workers, micro batch and accumulation."""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch.utils.data import Sampler

MEGA_BATCH = 50
"""order=length: so many global batches are sorted together."""


class Order(Sampler[int]):
    """Row numbers for a whole run: passes over all rows, each in its own order, without a gap between them.

    It depends on the seed alone, so that step k has the same rows for any number of workers, micro batch and
    accumulation, in a run that was interrupted and in one that was not. `lengths` (of each row, in tokens) and `batch`
    (sequences in one step) matter for order=length alone."""

    def __init__(
        self,
        rows: int,
        length: int,
        seed: int,
        order: Literal["random", "length", "sequential"] = "random",
        lengths: Sequence[int] = (),
        batch: int = 1,
    ) -> None:
        self.rows = rows
        self.length = length
        self.seed = seed
        self.order = order
        self.lengths = lengths
        self.batch = batch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        left, number = self.length, 0
        while left > 0:
            rows = self._pass(number)[:left]
            yield from rows
            left -= len(rows)
            number += 1

    def _pass(self, number: int) -> list[int]:
        if self.order == "sequential":
            return list(range(self.rows))
        dice = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        rows: list[int] = torch.randperm(self.rows, generator=dice).tolist()
        if self.order == "random":
            return rows
        # The first rows fill up the batch that the pass before has begun.
        head = min(-number * self.rows % self.batch, self.rows)
        batches = _batches_of_like_length(rows[head:], self.lengths, self.batch)
        whole = [batch for batch in batches if len(batch) == self.batch]
        rest = [row for batch in batches if len(batch) < self.batch for row in batch]
        shuffled = torch.randperm(len(whole), generator=dice).tolist()
        return rows[:head] + [row for place in shuffled for row in whole[place]] + rest


def _batches_of_like_length(rows: list[int], lengths: Sequence[int], batch: int) -> list[list[int]]:
    """Global batches of shuffled rows; each mega-batch is sorted, longest first, before it is cut."""
    found = []
    for begin in range(0, len(rows), MEGA_BATCH * batch):
        mega = sorted(rows[begin : begin + MEGA_BATCH * batch], key=lambda row: -lengths[row])
        found += [mega[place : place + batch] for place in range(0, len(mega), batch)]
    return found
