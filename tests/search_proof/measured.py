"""What a grid and a search over it came to, by their run folders alone."""

import statistics
from dataclasses import dataclass

from conf.folder import RunFolder
from sweeps.folder import SweepFolder, run_of

MEDIAN, WORST = 0.10, 0.30
"""How far the median and the worst of the grid must be above its best, for the search to be a test."""
SHARE, NEAR = 0.5, 0.02
"""Steps that a search may take of the grid's, and how near it must come to the best."""


@dataclass(frozen=True)
class Grid:
    """A grid that was trained whole."""

    losses: dict[str, float]
    """Held-out loss at the end by run id."""
    steps: int
    """Optimizer steps of all runs together."""

    @property
    def best(self) -> float:
        """The lowest loss."""
        return min(self.losses.values())

    @property
    def median(self) -> float:
        """The median loss."""
        return statistics.median(self.losses.values())

    @property
    def worst(self) -> float:
        """The highest loss."""
        return max(self.losses.values())


@dataclass(frozen=True)
class Search:
    """One search over the same configurations."""

    seed: int
    steps: int
    """Optimizer steps that were made, each once."""
    reached: dict[int, int]
    """Step -> trials that stand there."""
    found: str
    """Run id of the best trial that was trained to its end."""
    loss: float


def read_grid(sweep: SweepFolder) -> Grid:
    """The grid of a sweep; AssertionError where a run has not completed."""
    losses, steps = {}, 0
    for folder in _folders(sweep):
        result = folder.result()
        assert result["status"] == "completed", f"{folder.id}: {result}"
        losses[folder.id] = result["eval_loss"]
        steps += _steps(folder)
    return Grid(losses, steps)


def read_search(sweep: SweepFolder, seed: int) -> Search:
    """A search by what its runs have done."""
    folders = list(_folders(sweep))
    whole = {folder.id: folder.result()["eval_loss"] for folder in folders if folder.result()["status"] == "completed"}
    best = min(whole, key=lambda run_id: whole[run_id])
    reached: dict[int, int] = {}
    for folder in folders:
        step = folder.result()["step"]
        reached[step] = reached.get(step, 0) + 1
    return Search(seed, sum(map(_steps, folders)), dict(sorted(reached.items())), best, whole[best])


def broken(grid: Grid, searches: list[Search]) -> list[str]:
    """The promises that were not kept, in words."""
    found = []
    if grid.median < grid.best * (1 + MEDIAN) or grid.worst < grid.best * (1 + WORST):
        found.append(f"the grid is no test: best {grid.best:.4f}, median {grid.median:.4f}, worst {grid.worst:.4f}")
    for search in searches:
        if search.steps > SHARE * grid.steps:
            found.append(f"seed {search.seed} took {search.steps} of {grid.steps} steps")
        if grid.losses[search.found] > grid.best * (1 + NEAR):
            found.append(f"seed {search.seed} found {search.loss:.4f}, and the best is {grid.best:.4f}")
        if search.loss != grid.losses[search.found]:
            found.append(f"seed {search.seed}: {search.found} came to {search.loss}, alone {grid.losses[search.found]}")
    return found


def _folders(sweep: SweepFolder) -> list[RunFolder]:
    return [run_of(sweep, trial) for trial in sweep.trials()]


def _steps(folder: RunFolder) -> int:
    """Steps that a run has made; one that was made twice counts twice."""
    return sum("loss" in line for line in folder.metrics())
