"""How trials are spread over arrays: every one once, never over a limit."""

from hypothesis import given
from hypothesis import strategies as st

from sweeps.limits import shares, split

shapes = st.lists(st.integers(0, 40), min_size=1, max_size=5)


@given(shapes, st.integers(1, 15), st.none() | st.integers(1, 12), st.none() | st.integers(0, 120))
def test_each_trial_is_in_one_array_or_waits(
    sizes: list[int], most: int, parallel: int | None, left: int | None
) -> None:
    numbers = iter(range(sum(sizes)))
    listed = [[next(numbers) for _ in range(size)] for size in sizes]
    parts, waiting = split(listed, most, parallel, left)
    placed = [number for part in parts for number in part.elements]
    assert sorted([*placed, *waiting]) == list(range(sum(sizes)))
    assert all(0 < len(part.elements) <= most for part in parts)
    assert all(set(part.elements) <= set(listed[part.shape]) for part in parts)
    assert len(placed) == sum(sizes) if left is None else len(placed) == min(left, sum(sizes))
    if parallel is not None:
        # Only arrays that follow nothing can run together, and each lane goes on one by one.
        firsts = [part for part in parts if part.before is None]
        assert sum(part.limit or 0 for part in firsts) <= parallel
        followed = [part.before for part in parts if part.before is not None]
        assert len(followed) == len(set(followed))
        for index, part in enumerate(parts):
            if part.before is not None:
                assert part.before < index and parts[part.before].limit == part.limit
    else:
        assert all(part.limit is None and part.before is None for part in parts)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=6), st.integers(0, 50))
def test_shares_add_up_and_leave_nobody_without(sizes: list[int], more: int) -> None:
    found = shares(len(sizes) + more, sizes)
    assert sum(found) == len(sizes) + more and min(found) >= 1


def test_arrays_of_one_lane_follow_each_other() -> None:
    parts, waiting = split([list(range(25))], 10, 4, None)
    assert [(len(part.elements), part.limit, part.before) for part in parts] == [(10, 4, None), (10, 4, 0), (5, 4, 1)]
    assert waiting == []
