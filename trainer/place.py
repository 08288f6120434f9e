"""Which of a run's workers a process is."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Which of the workers this process is."""

    rank: int
    world: int
    local_rank: int
    attempt: int


def place_of(environ: Mapping[str, str]) -> Place:
    """From torch elastic's variables; a process without them is alone."""

    def number(name: str, default: int) -> int:
        return int(environ.get(name, default))

    return Place(
        rank=number("RANK", 0),
        world=number("WORLD_SIZE", 1),
        local_rank=number("LOCAL_RANK", 0),
        attempt=number("SLURMWRIGHT_ATTEMPT", 1),
    )
