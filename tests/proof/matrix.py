"""Many cells at once on one cluster, each on nodes of its own; what was found before is not run again."""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import workload
from tests.faults.watch import Missed
from tests.proof import runs
from tests.proof.cells import Calm, Cell
from tests.proof.measured import Cache, Measured
from tests.slurm.cluster import Cluster, ClusterError
from tests.slurm.cluster.layout import NODES
from tests.slurm.launching import Login

ABREAST = 3
"""Runs at once: while one waits for Slurm, two keep two cores busy."""


@dataclass
class Outcome:
    """What came of the cells."""

    found: dict[Cell, Measured] = field(default_factory=dict)
    calm: dict[Calm, Measured] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    """Name of a run -> what is wrong with it."""


class Nodes:
    """The cluster's nodes, lent out."""

    def __init__(self) -> None:
        self._free = list(NODES)
        self._changed = threading.Condition()

    @contextmanager
    def take(self, count: int) -> Iterator[list[str]]:
        """Hold `count` nodes."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._free) >= count)
            mine, self._free = sorted(self._free)[:count], sorted(self._free)[count:]
        try:
            yield mine
        finally:
            with self._changed:
                self._free += mine
                self._changed.notify_all()


class Matrix:
    """The cells of one command."""

    def __init__(self, cluster: Cluster, home: Path, cache: Cache) -> None:
        workload.build(home, runs.ROWS)
        self._login = Login(cluster, home, home / "store")
        self._cache = cache
        self._nodes = Nodes()
        self.outcome = Outcome()

    def run(self, cells: Sequence[Cell]) -> Outcome:
        """All of them, the calm runs that they need first. Goes on after a failure; `wrong` holds what failed."""
        calm = list(dict.fromkeys(cell.calm for cell in cells))
        with ThreadPoolExecutor(ABREAST) as pool:
            list(pool.map(self._calm, calm))
            list(pool.map(self._cell, [cell for cell in cells if cell.calm in self.outcome.calm]))
        return self.outcome

    def _calm(self, run: Calm) -> None:
        found = self._measured(f"calm-{run.name}", run, lambda nodes: runs.calm(run, self._login, nodes))
        if found is not None:
            self.outcome.calm[run] = found

    def _cell(self, cell: Cell) -> None:
        expected = self.outcome.calm[cell.calm]
        found = self._measured(cell.name, cell, lambda nodes: runs.interrupted(cell, self._login, nodes, expected))
        if found is not None:
            self.outcome.found[cell] = found

    def _measured(self, name: str, run: Calm, carry_out: Callable[[list[str]], Measured]) -> Measured | None:
        kept = self._cache.get(name)
        if kept is not None:
            return kept
        try:
            with self._nodes.take(run.nodes) as nodes:
                found = carry_out(nodes)
        except (runs.Broken, Missed, AssertionError, ClusterError, FileNotFoundError) as error:
            self.outcome.wrong[name] = str(error)
            _say(f"{name}: WRONG: {error}")
            return None
        self._cache.put(found)
        lost = "" if found.lost is None else f", step {found.step} then {found.resumed}"
        _say(f"{name}: {found.digest[:12]}{lost}, {found.seconds:.0f} s")
        return found


def prove(cells: Sequence[Cell], cluster: Cluster, home: Path, cache: Cache) -> Outcome:
    """Run the cells on a cluster. `home` is a folder on its shared file system."""
    home.mkdir(parents=True, exist_ok=True)
    return Matrix(cluster, home, cache).run(cells)


def _say(words: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)
