"""The matrix: what is varied, what a cell is called, and which cells a person asks for."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Any, Literal

from tests.proof.covering import covering

Cause = Literal["preemption", "time_limit", "sigkill"]
World = Literal["1", "2", "2x2"]

FACTORS: dict[str, tuple[Any, ...]] = {
    "cause": ("preemption", "time_limit", "sigkill"),
    "world": ("1", "2", "2x2"),
    "packing": (True, False),
    "adapter": ("lora", "full"),
    "epoch": (1, 2),
    "accumulation": (1, 4),
}
MANY = ("2", "2x2")
"""The worlds of more than one rank, of which a covering array stands for the product."""
LEAST = 16
"""Cells with more than one rank, at least."""
SAMPLE = 6


@dataclass(frozen=True)
class Calm:
    """A run that nothing interrupts: what the cells of the same numbers are compared with."""

    world: World
    packing: bool
    adapter: Literal["lora", "full"]
    accumulation: int

    @property
    def nodes(self) -> int:
        """Nodes of the job."""
        return 2 if self.world == "2x2" else 1

    @property
    def devices(self) -> int:
        """Workers on each node."""
        return 1 if self.world == "1" else 2

    @property
    def name(self) -> str:
        """Short, fit for a run's name."""
        return f"{self.world}-{'packed' if self.packing else 'padded'}-{self.adapter}-a{self.accumulation}"


@dataclass(frozen=True)
class Cell(Calm):
    """One interrupted run."""

    cause: Cause
    epoch: Literal[1, 2]

    @property
    def calm(self) -> Calm:
        """The run that it must equal."""
        return Calm(**{field.name: getattr(self, field.name) for field in fields(Calm)})

    @property
    def name(self) -> str:
        """Short, fit for a run's name and for the command line."""
        return f"{self.calm.name}-{self.cause}-e{self.epoch}"


def product_of_all() -> list[Cell]:
    """Every cell, 144."""
    return [_cell(values) for values in product(*FACTORS.values())]


def pairwise() -> list[Cell]:
    """All cells of one rank, 48, and a covering array of those with several."""
    alone = [cell for cell in product_of_all() if cell.world == "1"]
    return alone + [Cell(**row) for row in covering(FACTORS | {"world": MANY}, LEAST)]


def sample() -> list[Cell]:
    """The few that run with every change: every value is there, and three calm runs serve for all."""
    return [
        _cell(values)
        for values in (
            ("preemption", "1", False, "full", 1, 1),
            ("sigkill", "1", False, "full", 2, 1),
            ("preemption", "2", True, "lora", 1, 4),
            ("time_limit", "2", True, "lora", 2, 4),
            ("time_limit", "2x2", True, "full", 1, 1),
            ("sigkill", "2x2", True, "full", 2, 1),
        )
    ]


def asked(words: str) -> list[Cell]:
    """The cells of `pairs`, `all`, `sample`, or of names separated by commas. Raises ValueError for any other name."""
    known = {"pairs": pairwise, "all": product_of_all, "sample": sample}
    if words in known:
        return known[words]()
    names = {cell.name: cell for cell in product_of_all()}
    wanted = [word for word in words.split(",") if word]
    if unknown := [word for word in wanted if word not in names]:
        example = next(iter(names))
        raise ValueError(f"no such cell: {', '.join(unknown)}; CELLS is {', '.join(known)}, or names such as {example}")
    return [names[word] for word in wanted]


def _cell(values: Sequence[Any]) -> Cell:
    """From one value of each factor, in their order."""
    return Cell(**dict(zip(FACTORS, values, strict=True)))
