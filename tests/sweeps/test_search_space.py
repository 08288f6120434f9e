"""What swept words span."""

import math

import pytest

from conf.schema.problems import ConfigProblems
from sweeps.space import Axis, read_space, typed


def axis(name: str, text: str) -> Axis:
    [found] = read_space({name: text}).axes
    return found


def test_the_grammar_of_axes() -> None:
    assert axis("adapter.r", "4,8,16").choices == ("4", "8", "16")
    whole = axis("adapter.r", "range(8,33,8)")
    assert (whole.low, whole.high, whole.step, whole.integer) == (8, 32, 8, True)
    assert whole.points() == [8, 16, 24, 32]
    rate = axis("method.learning_rate", "tag(log,interval(1e-5,1e-3))")
    assert rate.log and not rate.integer and rate.points() == [1e-5, 1e-4, 1e-3]
    for text in ("int(interval(2,9))", "tag(int,interval(1.5,9.5))"):
        rank = axis("adapter.r", text)
        assert rank.integer and (rank.low, rank.high) == (2, 9)


def test_points_are_found_on_an_axis_however_they_are_written() -> None:
    rates = axis("method.learning_rate", "1e-4,0.001")
    assert [rates.place(value) for value in (0.0001, "1e-4", 1e-3, 2e-3)] == ["0.0001", "0.0001", "0.001", None]
    rank = axis("adapter.r", "int(interval(2,9))")
    assert [rank.place(value) for value in (2, 9.0, 2.5, 10, True, "x")] == [2, 9, None, None, None, None]


def test_groups_come_first_and_size_counts_points() -> None:
    space = read_space({"adapter.r": "4,8", "method.learning_rate": "interval(0,1)", "adapter": "lora,full"})
    assert [each.name for each in space.axes] == ["adapter", "adapter.r", "method.learning_rate"]
    assert space.size == math.inf
    assert read_space({"adapter.r": "4,8", "method.epochs": "range(1,4)"}).size == 6
    assert typed({"method.learning_rate": 0.000123456789, "adapter.r": 4}) == {
        "method.learning_rate": "0.000123457",
        "adapter.r": "4",
    }


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("adapter", "interval(1,2)", "list its options"),
        ("adapter.rank", "1,2", "adapter.r"),
        ("adapter.r", "interval(3,2)", "below the second"),
        ("adapter.r", "range(9,2,-1)", "rising range"),
        ("method.learning_rate", "tag(log,interval(-1,1))", "above 0"),
        ("method.learning_rate", "tag(exp,interval(1,2))", "there is int and log"),
    ],
)
def test_what_spans_nothing_is_refused(name: str, text: str, says: str) -> None:
    with pytest.raises(ConfigProblems, match=says.replace("(", r"\(")):
        read_space({name: text})
