"""Slurm's host lists are read exactly, or not at all."""

from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.hostlist import HostlistError, expand


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("n1", ["n1"]),
        ("login,gpu7", ["login", "gpu7"]),
        ("gpu[001-003,7]", ["gpu001", "gpu002", "gpu003", "gpu7"]),
        ("gpu[001-003,7],r[1-2]n[0-1]", ["gpu001", "gpu002", "gpu003", "gpu7", "r1n0", "r1n1", "r2n0", "r2n1"]),
        ("n[8-11]", ["n8", "n9", "n10", "n11"]),
        ("n[08-11]", ["n08", "n09", "n10", "n11"]),
        ("n[098-101]", ["n098", "n099", "n100", "n101"]),
        ("rack[1-2]-node[01,03]-ib", ["rack1-node01-ib", "rack1-node03-ib", "rack2-node01-ib", "rack2-node03-ib"]),
        ("r[0-1][0-1]", ["r00", "r01", "r10", "r11"]),
        ("[1-2]a", ["1a", "2a"]),
        ("b2,b1", ["b2", "b1"]),
        ("127.0.0.[1-2]", ["127.0.0.1", "127.0.0.2"]),
    ],
)
def test_expands_as_slurm_does(text: str, names: list[str]) -> None:
    assert expand(text) == names


@pytest.mark.parametrize(
    "text",
    ["", ",", "n1,", "n[1-3", "n1-3]", "n[[1]]", "n[]", "n[a]", "n[3-1]", "n[1-]", "n[1,,2]", "n 1", "../n1", "n/1",
     "n1,n1", "n[1-2,2]", "(null)", "n[0-99999999]", "a[0-999]b[0-999]"],
)  # fmt: skip
def test_what_is_no_host_list_is_an_error_that_shows_it(text: str) -> None:
    with pytest.raises(HostlistError) as caught:
        expand(text)
    assert repr(text) in str(caught.value)


NUMBERED = st.tuples(st.sampled_from(["n", "gpu", "r1n", "x-"]), st.integers(0, 1200), st.integers(1, 4))


@given(st.lists(NUMBERED, min_size=1, max_size=30, unique_by=lambda parts: f"{parts[0]}{parts[1]:0{parts[2]}d}"))
def test_expand_undoes_compress(parts: list[tuple[str, int, int]]) -> None:
    names = [f"{prefix}{number:0{width}d}" for prefix, number, width in parts]
    assert expand(compress(names)) == names


@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=4, unique=True), min_size=1, max_size=3))
def test_several_brackets_are_all_combinations_in_order(choices: list[list[int]]) -> None:
    text = "".join(f"p{'abc'[index]}[{','.join(map(str, numbers))}]" for index, numbers in enumerate(choices))
    expected = [""]
    for index, numbers in enumerate(choices):
        expected = [f"{name}p{'abc'[index]}{number}" for name in expected for number in numbers]
    assert expand(text) == expected


@given(st.text(alphabet="n01[]-,x ", max_size=12))
def test_never_returns_a_wrong_name(text: str) -> None:
    try:
        names = expand(text)
    except HostlistError:
        return
    assert names and all(name and not set(name) & set("[], ") for name in names)


def compress(names: list[str]) -> str:
    """The inverse of expand for names that end in a number: runs of one prefix and width become ranges."""
    parts = [(name.rstrip("0123456789"), name[len(name.rstrip("0123456789")) :]) for name in names]
    items = []
    for prefix, run in groupby(parts, key=lambda part: part[0]):
        ranges: list[list[str]] = []
        for _, digits in run:
            low, high = ranges[-1] if ranges else ("", "")
            if high and int(digits) == int(high) + 1 and digits == str(int(digits)).zfill(len(low)):
                ranges[-1][1] = digits
            else:
                ranges.append([digits, digits])
        items.append(prefix + "[" + ",".join(low if low == high else f"{low}-{high}" for low, high in ranges) + "]")
    return ",".join(items)
