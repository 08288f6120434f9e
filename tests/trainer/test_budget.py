"""How often a run goes on by itself, and when it must not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.schema.operations import LimitsConfig
from trainer.budget import decide

LIMITS = LimitsConfig(preemptions=3, time_limits=2, node_failures=2, crashes=2)


def ended(*attempts: tuple[str, int]) -> list[dict[str, Any]]:
    return [{"cause": cause, "step": step, "culprit": f"n{step}"} for cause, step in attempts]


@pytest.mark.parametrize(
    ("attempts", "again", "why"),
    [
        ([("preempted", 5)], True, ""),
        ([("preempted", 5)] * 3, True, ""),
        ([("preempted", 5)] * 4, False, "limits.preemptions=3 is used up"),
        ([("time_limit", 5), ("time_limit", 9)], True, ""),
        ([("time_limit", 5), ("time_limit", 5)], False, "longer cluster.time"),
        ([("worker_crash", 5), ("preempted", 8), ("stalled", 9)], True, ""),
        ([("worker_crash", 5), ("out_of_memory", 5)], False, "step 6 has failed twice in a row"),
        ([("worker_crash", 1), ("worker_killed", 2), ("stalled", 3)], False, "limits.crashes=2 is used up"),
        ([("preempted", 5)] * 3 + [("worker_crash", 5)], True, ""),
        ([("disk_full", 5)], False, "disk_full"),
        ([("launch_failed", 0)], False, "launch_failed"),
    ],
)
def test_each_cause_has_its_own_budget(attempts: list[tuple[str, int]], again: bool, why: str) -> None:
    decision = decide(ended(*attempts), LIMITS)
    assert decision.again is again and why in decision.why


def test_lost_nodes_are_excluded_from_then_on() -> None:
    assert decide(ended(("node_failure", 3), ("preempted", 4)), LIMITS).exclude == ("n3",)
    assert decide(ended(("node_failure", 5), ("node_failure", 3)), LIMITS).exclude == ("n3", "n5")


@given(st.lists(st.tuples(st.sampled_from(["preempted", "time_limit", "worker_crash", "network"]), st.integers(0, 9))))
def test_no_run_goes_on_for_ever(attempts: list[tuple[str, int]]) -> None:
    """Budgets add up to a bound on attempts, in whatever order causes come."""
    count = 0
    while count < len(attempts) and decide(ended(*attempts[: count + 1]), LIMITS).again:
        count += 1
    assert count <= 3 + 2 + 2 + 2
