"""format=tokens: rows that are tokenised already, the words for what they cannot be, and the way into the store."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from conf.folder import RunFolder
from conf.schema.derive import derive
from conf.schema.run import RunConfig
from tests.tiny import tiny_llama
from trainer.data.prepared import load
from trainer.data.rows import RowProblems
from trainer.prepare import prepare

pytestmark = pytest.mark.train
Make = Callable[..., RunFolder]
LAST = 482
"""Highest number of the tiny tokenizer; its model has rows to spare."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def make(model: Path, tmp_path: Path) -> Make:
    """Freezes a run as the launcher does, on rows of tokens: `make([..], max_length=8)`."""

    def freeze(rows: list[Any], groups: dict[str, Any] | None = None, **data: Any) -> RunFolder:
        folder = RunFolder(tmp_path / f"run {len(list(tmp_path.iterdir()))}")
        folder.path.mkdir()
        file = folder.path / "rows.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        values: dict[str, Any] = {
            "model": {"id": str(model)},
            "store": {"root": str(tmp_path / "store")},
            "data": {"source": "file", "path": str(file), "format": "tokens", "eval_fraction": 0.0} | data,
        }
        config = derive(RunConfig.model_validate(values | (groups or {})))
        folder.config_file.write_text(yaml.safe_dump(config.dump()))
        return folder

    return freeze


def prepared(folder: RunFolder) -> list[tuple[list[int], list[int]]]:
    rows = load(prepare(folder).data.path, "train")
    return list(zip(rows["input_ids"], rows["labels"], strict=True))


MASKED = {"input_ids": [5, 6, 7, 8], "labels": [-100, -100, 7, 8]}


def test_tokens_and_labels_are_taken_as_they_are(make: Make) -> None:
    filled = {
        "input_ids": [3, 5, 6, 7, 3, 3], "labels": [-100, -100, 6, -100, -100, -100],
        "attention_mask": [0, 1, 1, 1, 0, 0],
    }  # fmt: skip
    rows = [
        MASKED,
        {"input_ids": [9, 10, 11], "labels": None},
        filled,
        {"input_ids": [4, 5, 3], "attention_mask": [1, 1, 0]},
    ]
    no = -100
    expected = [
        ([5, 6, 7, 8], [no, no, 7, 8]), ([9, 10, 11], [no, 10, 11]), ([5, 6, 7], [no, 6, no]), ([4, 5], [no, 5]),
    ]  # fmt: skip
    for learn in ("answers", "all"):
        assert prepared(make(rows, learn=learn)) == expected
    everything = make(rows, groups={"method": {"objective": "pretrain"}})
    assert prepared(everything) == expected


def test_the_first_token_is_never_learnt(make: Make) -> None:
    assert prepared(make([{"input_ids": [5, 6], "labels": [5, 6]}])) == [([5, 6], [-100, 6])]


@pytest.mark.parametrize(("overlong", "expected"), [("cut", [3, 3]), ("drop", [3]), ("split", [3])])
def test_long_rows(make: Make, overlong: str, expected: list[int]) -> None:
    rows = [MASKED, {"input_ids": [9, 10, 11]}]
    assert [len(ids) for ids, _ in prepared(make(rows, overlong=overlong, max_length=3))] == expected


def test_a_stream_and_several_sets_are_held_to_the_same(make: Make) -> None:
    beyond = {"input_ids": [1, LAST + 1]}
    steps = {"method": {"max_steps": 3}, "batch": {"global": 1}}
    assert len(prepared(make([MASKED] * 9, groups=steps, streaming=True))) == 3
    with pytest.raises(RowProblems, match="line 1: `input_ids\\[1\\]` is 483"):
        prepare(make([beyond], groups=steps, streaming=True))
    good = make([MASKED])
    held = str(make([beyond]).path / "rows.jsonl")
    sets = [{"path": str(good.path / "rows.jsonl"), "format": "tokens"}]
    several = make(
        [], source="sets", path=None, format="auto", sets=sets, eval_sets=[{"path": held, "format": "tokens"}]
    )
    with pytest.raises(RowProblems, match="line 1: `input_ids\\[1\\]` is 483"):
        prepare(several)


def test_tokens_that_were_added_are_known(make: Make, model: Path) -> None:
    rows = [{"input_ids": [1, LAST + 1]}]
    added = {"model": {"id": str(model), "added_tokens": ["<new>"]}}
    assert prepared(make(rows, groups=added)) == [([1, LAST + 1], [-100, LAST + 1])]


BAD = [
    ([1, 2], "is an array, not an object"),
    ({"text": "a"}, "`input_ids` is missing or null: give an array"),
    ({"input_ids": []}, "`input_ids` is an empty array"),
    ({"input_ids": "1 2"}, "`input_ids` is a string"),
    ({"input_ids": [1, 2.0]}, "`input_ids[1]` is 2.0: give a whole number"),
    ({"input_ids": [True, 2]}, "`input_ids[0]` is true"),
    ({"input_ids": [1, -1]}, "`input_ids[1]` is -1, and the tokenizer's numbers are 0 to 482"),
    ({"input_ids": [1, 483]}, "`input_ids[1]` is 483, and the tokenizer's numbers are 0 to 482"),
    ({"input_ids": [1, 2], "labels": [1]}, "`labels` has 1 numbers and `input_ids` 2"),
    ({"input_ids": [1, 2], "labels": [2, -100]}, "`labels[0]` is 2 where `input_ids[0]` is 1"),
    ({"input_ids": [1, 2], "attention_mask": [1]}, "`attention_mask` has 1 numbers"),
    ({"input_ids": [1, 2], "attention_mask": [0, 0]}, "`attention_mask` has no 1"),
    ({"input_ids": [1, 2, 3], "attention_mask": [1, 0, 1]}, "`attention_mask[1]` is 0"),
    ({"input_ids": [1, 2], "attention_mask": [1, 2]}, "`attention_mask[1]` is 2"),
    ({"input_ids": [1, 2], "labels": [1, 2], "attention_mask": [1, 0]}, "`labels[1]` is learnt though"),
]


@pytest.mark.parametrize(("row", "says"), BAD, ids=range(len(BAD)))
def test_a_bad_row_is_named_with_file_and_line(make: Make, row: Any, says: str) -> None:
    folder = make([MASKED, row])
    with pytest.raises(RowProblems) as caught:
        prepare(folder)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{folder.path}/rows.jsonl line 2: {says}")


def test_rows_of_tokens_are_told_their_format(make: Make) -> None:
    with pytest.raises(RowProblems, match=r"`input_ids` are read by data\.format=tokens"):
        prepare(make([MASKED], format="auto"))
