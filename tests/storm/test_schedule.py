"""The storm's schedule: what one seed promises."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.storm.job import total_steps
from tests.storm.schedule import DAMAGE, EACH, EARLY, GAP, KINDS, PHASES, schedule


@settings(deadline=None, max_examples=400)
@given(st.integers(33, 80), st.integers(0, 1000))
def test_every_kind_comes_often_enough_and_many_inside_a_save(faults: int, seed: int) -> None:
    found = schedule(faults, seed)
    assert len(found) == faults
    kinds = Counter(fault.kind for fault in found)
    assert all(kinds[kind] >= EACH for kind in KINDS)
    assert sum(fault.phase == "save" for fault in found) >= faults // 5
    assert {"load", "evaluate", "first_step", "prepare"} <= {fault.phase for fault in found}


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(0, 1000))
def test_each_hits_where_it_can_and_what_each_costs_can_be_told(faults: int, seed: int) -> None:
    found = schedule(faults, seed)
    assert all(fault.phase in PHASES[fault.kind] for fault in found)
    for before, fault in pairwise(found):
        if fault.phase in EARLY:
            assert fault.mark == before.mark and before.kind not in DAMAGE
            # Two time limits in a row without a new step end a run, as they must.
            assert (before.kind, fault.kind) != ("time_limit", "time_limit")
        else:
            assert GAP[0] <= fault.mark - before.mark <= GAP[1]
    assert total_steps(found) > found[-1].mark


def test_the_seed_decides() -> None:
    assert schedule(50, 7) == schedule(50, 7) != schedule(50, 8)


@pytest.mark.parametrize("faults", [1, 4, 11])
def test_a_short_storm_is_one_too(faults: int) -> None:
    assert len({fault.kind for fault in schedule(faults, 1)}) == faults
