"""Packing: every row once, none too long, few sequences, the same everywhere."""

import os
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from trainer.data.packing import pack

CAPACITY = 64
lengths = st.lists(st.integers(1, CAPACITY), max_size=200)


@given(lengths)
def test_no_row_is_lost_and_no_sequence_too_long(rows: list[int]) -> None:
    packs = pack(rows, CAPACITY)
    assert sorted(number for sequence in packs for number in sequence) == list(range(len(rows)))
    assert all(0 < sum(rows[number] for number in sequence) <= CAPACITY for sequence in packs)


@given(lengths)
def test_no_two_sequences_could_be_one(rows: list[int]) -> None:
    sums = sorted(sum(rows[number] for number in sequence) for sequence in pack(rows, CAPACITY))
    assert len(sums) < 2 or sums[0] + sums[1] > CAPACITY


@given(lengths)
def test_sequences_and_their_rows_ascend(rows: list[int]) -> None:
    packs = pack(rows, CAPACITY)
    assert all(sequence == sorted(sequence) for sequence in packs)
    assert packs == sorted(packs)


@given(st.permutations([50, 40, 30, 20, 20, 14, 10, 8]))
def test_how_many_does_not_depend_on_the_rows_order(rows: list[int]) -> None:
    assert len(pack(rows, CAPACITY)) == len(pack(sorted(rows), CAPACITY))


def test_each_row_goes_where_it_leaves_the_least() -> None:
    assert pack([6, 5, 4], 10) == [[0, 2], [1]]
    assert pack([3, 4, 6, 7], 10) == [[0, 3], [1, 2]]
    assert pack([10, 10], 10) == [[0], [1]]
    assert pack([5, 5, 5, 5], 10) == [[0, 1], [2, 3]]
    assert pack([], 10) == []


def test_another_process_packs_the_same() -> None:
    code = "from trainer.data.packing import pack; print(pack([(7 * n) % 61 + 1 for n in range(300)], 64))"
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            timeout=180,
            cwd=Path(__file__).parents[2],
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert said == {f"{pack([(7 * n) % 61 + 1 for n in range(300)], 64)}\n"}
