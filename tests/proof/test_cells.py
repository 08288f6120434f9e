"""The matrix and its covering array."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.proof.cells import FACTORS, LEAST, MANY, asked, pairwise, product_of_all, sample
from tests.proof.covering import covering, every_pair, pairs


@settings(deadline=None)
@given(st.lists(st.integers(1, 4), min_size=2, max_size=5), st.integers(0, 12))
def test_every_pair_is_covered_by_few_rows(sizes: list[int], least: int) -> None:
    factors = {f"f{number}": range(size) for number, size in enumerate(sizes)}
    rows = covering(factors, least)
    held = set().union(*(pairs(row) for row in rows))
    assert held == every_pair(factors)
    whole = 1
    for size in sizes:
        whole *= size
    assert min(least, whole) <= len(rows) <= whole
    assert len({tuple(row.items()) for row in rows}) == len(rows)


def test_the_default_is_all_of_one_rank_and_a_covering_array_of_more() -> None:
    cells = pairwise()
    assert len(product_of_all()) == 144
    assert Counter(cell.world == "1" for cell in cells)[True] == 48
    many = [cell for cell in cells if cell.world in MANY]
    assert len(many) >= LEAST
    held = set().union(*(pairs({name: getattr(cell, name) for name in FACTORS}) for cell in many))
    assert held == every_pair(FACTORS | {"world": MANY})


def test_the_sample_has_every_value() -> None:
    cells = sample()
    assert len(cells) == 6
    for name, values in FACTORS.items():
        assert {getattr(cell, name) for cell in cells} == set(values)


def test_cells_are_asked_for_by_name() -> None:
    names = [cell.name for cell in product_of_all()]
    assert len(set(names)) == 144
    assert [cell.name for cell in asked(",".join(names[:2]))] == names[:2]
    with pytest.raises(ValueError, match=r"no such cell: x; CELLS is pairs, all, sample, or names such as 1-packed"):
        asked("x")
