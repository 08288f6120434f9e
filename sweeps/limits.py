"""How many elements go into which array: the site's limits, and the sweep's own limit on what runs at once."""

from collections.abc import Sequence
from dataclasses import dataclass

from conf.schema.run import RunConfig
from launcher import report
from launcher.errors import SiteError
from launcher.site import site_facts
from launcher.slurm import queue

USUAL_ARRAY = 1001
"""Slurm's own default of MaxArraySize, taken where the site's is not known."""


@dataclass(frozen=True)
class Room:
    """What a site takes."""

    most: int
    """Elements of one array, numbered from 1."""
    left: int | None = None
    """Jobs that this user may submit now; None is no limit that is known."""


@dataclass(frozen=True)
class Part:
    """One array to be submitted."""

    shape: int
    elements: tuple[int, ...]
    """Trial numbers."""
    limit: int | None
    """Elements that run at once; None: all."""
    before: int | None
    """Index of the part that must have ended first."""


def room(config: RunConfig) -> Room:
    """The limits of the site for the jobs of a config. Where Slurm cannot be asked its own defaults are taken: it
    refuses what is too much, and the rest waits."""
    try:
        facts = site_facts()
        limit = facts.submit_limit(config.site.partition, config.site.account, config.site.qos)
        left = None if limit is None else max(0, limit - len(queue.active()))
    except SiteError as error:
        report.say(f"the limits of this site are not known: {error.message}")
        return Room(USUAL_ARRAY - 1)
    size = USUAL_ARRAY if facts.max_array_size is None else facts.max_array_size
    if size < 2:
        raise SiteError(f"this site takes no job arrays (MaxArraySize={size}): launch the runs one by one")
    return Room(size - 1, left)


def split(
    shapes: Sequence[Sequence[int]], most: int, parallel: int | None = None, left: int | None = None
) -> tuple[list[Part], list[int]]:
    """Arrays for the trials of each shape, and the trials that wait because no more than `left` may be submitted.

    With `parallel` the arrays stand in lanes. Those of one lane follow each other; the limits of all lanes together
    are `parallel`."""
    filled = [index for index, shape in enumerate(shapes) if shape]
    if not filled:
        return [], []
    lanes = len(filled) if parallel is None else min(parallel, len(filled))
    sizes = [sum(len(shapes[index]) for index in filled[lane::lanes]) for lane in range(lanes)]
    limits: list[int | None] = [None] * lanes if parallel is None else list(shares(parallel, sizes))
    last: list[int | None] = [None] * lanes
    parts: list[Part] = []
    waiting: list[int] = []
    for place, shape in enumerate(filled):
        lane = place % lanes
        for start in range(0, len(shapes[shape]), most):
            batch = list(shapes[shape][start : start + most])
            fits = batch if left is None else batch[:left]
            waiting += batch[len(fits) :]
            if not fits:
                continue
            left = None if left is None else left - len(fits)
            parts.append(Part(shape, tuple(fits), limits[lane], None if parallel is None else last[lane]))
            last[lane] = len(parts) - 1
    return parts, waiting


def shares(total: int, sizes: Sequence[int]) -> list[int]:
    """`total` divided in proportion to `sizes`, at least 1 for each; there are no more sizes than `total`."""
    found = [1] * len(sizes)
    for _ in range(total - len(sizes)):
        neediest = max(range(len(sizes)), key=lambda index: sizes[index] / found[index])
        found[neediest] += 1
    return found
