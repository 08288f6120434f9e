"""checkpoint.interval=auto: how often to save, from what a save costs and how often machines fail."""

import logging
import math
import statistics
import threading
from collections import deque
from dataclasses import dataclass

NODE_HOURS = 3700.0
"""Hours of one node between two failures where the run does not say: 6.5 failures in 1000 node-days, as on Meta's RSC-1
(Kokolis et al. 2024, arXiv:2410.21680)."""
WEIGHT = 0.05
"""How many failures NODE_HOURS counts as beside those that were seen: sites differ by orders of magnitude."""
FIRST_SECONDS = 600.0
"""Longest time to the first save, while what one costs is not known."""
ASSUMED_COST = 5.0
"""Seconds that a save is taken to cost until one was measured."""
MOST_SECONDS = 3600.0
"""Longest time between two saves."""
_STEPS = 50
"""The median of so many steps is a step's time."""

log = logging.getLogger("trainer")


def young_daly(cost: float, between: float) -> float:
    """Seconds of work between two saves that lose the least time: sqrt(2 * cost * between).

    `cost`: seconds for which training stands still for a save. `between`: mean seconds between two failures of the job.
    Young 1974, "A first order approximation to the optimum checkpoint interval"; Daly 2006, "A higher order estimate of
    the optimum checkpoint interval for restart dumps", whose next terms vanish where `cost` is far below `between`."""
    return math.sqrt(2 * cost * between)


def steps_between(cost: float, write: float, between: float, step: float, most: float = MOST_SECONDS) -> int:
    """Steps between two saves, 1 or more.

    `write`: seconds until a save is on disk; another one cannot begin before. `step`: seconds of a step. `most`: the
    longest time between two saves in seconds; a longer step alone makes it longer."""
    seconds = min(max(young_daly(cost, between), write), most)
    return max(1, math.floor(seconds / max(step, 1e-9)))


def expected(run: tuple[int, float], site: tuple[int, float]) -> float:
    """Hours of one node between two failures, from failures and node-hours that the run and jobs before it have seen.

    The least of three: NODE_HOURS, since that nothing has failed so far says little; what the run alone has seen, which
    may be at a worse place of the site; and what all have seen together."""
    return min(NODE_HOURS, node_hours(*run), node_hours(run[0] + site[0], run[1] + site[1]))


def node_hours(failures: int, held: float) -> float:
    """Hours of one node between two failures, after `failures` in `held` node-hours.

    The mean of the posterior's rate, inverted: failures come as a Poisson process, whose rate has a Gamma prior of
    shape WEIGHT and mean 1 / NODE_HOURS (Gelman et al., Bayesian Data Analysis, section 2.6)."""
    return (WEIGHT * NODE_HOURS + held) / (WEIGHT + failures)


@dataclass(frozen=True)
class Choice:
    """An interval with the numbers that led to it, in seconds but for `steps`."""

    steps: int
    cost: float
    write: float
    between: float
    step_seconds: float
    measured: bool
    """False while `cost` is an assumption."""


class AutoInterval:
    """Decides on rank 0 when a save is due; the others hear of it at the step boundary. Draws no random number."""

    def __init__(self, mtbf_hours: float, nodes: int, step: int) -> None:
        """`mtbf_hours`: of one node. `step`: where this attempt begins."""
        self.between = mtbf_hours * 3600 / nodes
        self.saved = step
        self._times: deque[float] = deque(maxlen=_STEPS)
        self._measured: tuple[float, float] | None = None
        self._lock = threading.Lock()

    def measure(self, stall: float, seconds: float) -> None:
        """A save held training up for `stall` of the `seconds` that it took. From any thread."""
        with self._lock:
            self._measured = (stall, seconds)

    def choose(self) -> Choice:
        """The interval as things stand. Call after a step."""
        with self._lock:
            known = self._measured
        step = statistics.median(self._times)
        cost, write = known or (ASSUMED_COST, 0.0)
        most = MOST_SECONDS if known else FIRST_SECONDS
        steps = steps_between(cost, write, self.between, step, most)
        return Choice(steps, cost, write, self.between, step, known is not None)

    def step_done(self, step: int, seconds: float) -> Choice | None:
        """Step number `step` took so many seconds. The choice where a save is due after it, else None."""
        self._times.append(seconds)
        choice = self.choose()
        return choice if step - self.saved >= choice.steps else None
