"""Whether a run goes on by itself after an attempt has ended: a pure function of the attempts so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conf.schema.operations import LimitsConfig

_BUDGET = {
    "preempted": "preemptions",
    "time_limit": "time_limits",
    "node_failure": "node_failures",
    "network": "node_failures",
    "worker_crash": "crashes",
    "worker_killed": "crashes",
    "out_of_memory": "crashes",
    "stalled": "crashes",
    "unknown": "crashes",
}
"""Cause -> the limit that it is counted against. Other causes end the run: nothing would be different next time."""
COUNTED = frozenset(_BUDGET)
"""Causes after which a run can go on by itself."""
_NODES = ("node_failure",)
"""Causes after which the node that is to blame is left out."""


@dataclass(frozen=True)
class Decision:
    """What comes after an attempt."""

    again: bool
    """Whether the run goes on in another attempt."""
    why: str = ""
    """Where it does not: what is used up, and what to do, in words."""
    exclude: tuple[str, ...] = ()
    """Nodes that the next attempt should not have, the one that failed last first."""


def decide(attempts: Sequence[Mapping[str, Any]], limits: LimitsConfig) -> Decision:
    """What follows the last of `attempts`, each as attempt.json has it: `cause`, `step` (the last one made) and `node`.

    Preemptions, time limits, losses of nodes and crashes are counted apart. A failure at the very step of the failure
    before it, with nothing learnt in between, ends the run whatever the budget: it would do so for ever.
    """
    last = attempts[-1]
    cause = str(last["cause"])
    limit = _BUDGET.get(cause)
    if limit is None:
        return Decision(False, f"{cause} is nothing that another attempt would mend")
    allowed = int(getattr(limits, limit))
    used = sum(_BUDGET.get(str(attempt.get("cause"))) == limit for attempt in attempts)
    if used > allowed:
        return Decision(
            False, f"limits.{limit}={allowed} is used up; look at the log, then `python -m launcher resume` it"
        )
    before = attempts[-2] if len(attempts) > 1 else {}
    same = before.get("cause") in _BUDGET and before.get("step") == last.get("step")
    if same and limit == "crashes" and _BUDGET.get(str(before.get("cause"))) == limit:
        return Decision(
            False, f"step {int(last.get('step') or 0) + 1} has failed twice in a row; nothing changes by itself"
        )
    if same and limit == "time_limits" and before.get("cause") == cause:
        return Decision(
            False, "two attempts in a row reached the time limit without a new step: give a longer cluster.time"
        )
    return Decision(True, exclude=_culprits(attempts))


def _culprits(attempts: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    blamed = [str(a["culprit"]) for a in reversed(attempts) if a.get("cause") in _NODES and a.get("culprit")]
    return tuple(dict.fromkeys(blamed))
