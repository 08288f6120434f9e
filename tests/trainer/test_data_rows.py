"""Reading rows: what is accepted, the words for what is not, and which rows are held out."""

import json
from pathlib import Path
from typing import Any

import pytest

from conf.schema.run import RunConfig
from trainer.data.files import LONGEST_LINE
from trainer.data.rows import Objective, Row, RowProblems, split
from trainer.data.sets import read_set

CHAT = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}


def read_rows(path: Path, objective: Objective, **data: Any) -> list[Row]:
    values = {"data": {"source": "file", "path": str(path)} | data, "method": {"objective": objective}}
    config = RunConfig.model_validate(values)
    return read_set(config.data, config, {})


def problems(path: Path, objective: Objective = "sft") -> list[str]:
    with pytest.raises(RowProblems) as caught:
        read_rows(path, objective)
    assert caught.value.exit_code == 2
    return [problem.removeprefix(str(path)).strip() for problem in caught.value.problems]


def jsonl(path: Path, *values: Any) -> Path:
    file = path / "rows.jsonl"
    file.write_text("".join(json.dumps(value) + "\n" for value in values))
    return file


def turns(*pairs: tuple[Any, Any]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in pairs]}


def test_messages_and_instructions_become_conversations(tmp_path: Path) -> None:
    instruction = {"instruction": "add", "input": "1 2", "output": "3"}
    plain = {"instruction": "greet", "input": None, "output": "hi", "id": 7}
    chat, added, greeted = read_rows(jsonl(tmp_path, CHAT, instruction, plain), "sft")
    assert chat.messages == ({"role": "user", "content": "q"}, {"role": "assistant", "content": "a"})
    assert [message["content"] for message in added.messages] == ["add\n\n1 2", "3"]
    assert [message["content"] for message in greeted.messages] == ["greet", "hi"]


def test_text_is_for_pretraining(tmp_path: Path) -> None:
    file = jsonl(tmp_path, {"text": "once"})
    assert read_rows(file, "pretrain") == [Row(text="once")]
    assert problems(file) == [
        'line 1: has neither `messages` nor `instruction` and `output` (it has "text"); '
        "`text` is read by data.format=text, or method=pretrain; data.format and data.field_* say what else to read"
    ]
    assert problems(jsonl(tmp_path, CHAT), "pretrain") == [
        'line 1: has no key `text`, which method=pretrain reads (it has "messages"): add it, or method=sft'
    ]


def test_an_array_in_a_json_file(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([CHAT, CHAT]))
    assert len(read_rows(file, "sft")) == 2
    file.write_text(json.dumps([CHAT, 3]))
    assert problems(file)[0].startswith("row 2: is a number, not an object: give {")
    file.write_text(json.dumps(CHAT))
    assert problems(file) == [": is an object, not an array of rows: write [{...}, {...}], or use .jsonl"]
    file.write_text(json.dumps(CHAT) + "\n" + json.dumps(CHAT))
    assert len(read_rows(file, "sft")) == 2
    file.write_text(json.dumps(CHAT) + ",")
    assert "(rows one on each line belong into a file named .jsonl)" in problems(file)[0]


def test_marks_blank_lines_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    line = json.dumps(CHAT).encode()
    file.write_bytes(b"\xef\xbb\xbf" + line + b"\r\n\r\n  \n" + line)
    assert len(read_rows(file, "sft")) == 2
    file.write_bytes(b"\xef\xbb\xbf\n" + line + b"\n\n{")
    assert problems(file) == ["line 4: is not JSON (Expecting property name enclosed in double quotes, column 2)"]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_an_empty_file(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert problems(tmp_path / name)[0].startswith('has no rows: give one JSON object a line, such as {"messages"')


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (3, "is a number, not an object: give"),
        ([], "is an empty array, not an object"),
        ({}, "has neither `messages` nor `instruction` and `output` (it has no keys)"),
        ({"ask": "x"}, '(it has "ask")'),
        ({"prompt": "x"}, 'has `prompt` but no `completion` (it has "prompt")'),
        ({"messages": []}, "`messages` is an empty array: give an array of {role, content} objects"),
        ({"messages": "hi"}, "`messages` is a string: give an array"),
        ({"messages": ["hi"]}, "`messages[0]` is a string: give an object with `role` and `content`"),
        (turns(("bob", "x")), '`messages[0].role` is "bob": allowed are system, user, assistant, tool; data.roles='),
        (turns((None, "x")), "`messages[0].role` is null: allowed are"),
        (turns((["user"], "x")), '`messages[0].role` is ["user"]: allowed are'),
        (turns(("user", "x"), ("system", "y")), "`messages[1].role` is system: only the first message may be"),
        (turns(("user", None), ("assistant", "y")), "`messages[0].content` is missing or null: give a string"),
        (turns(("user", 5), ("assistant", "y")), "`messages[0].content` is a number: give a string"),
        (turns(("user", "x"), ("assistant", True)), "`messages[1].content` is true or false: give a string"),
        (turns(("user", "x"), ("assistant", " \n")), "`messages[1].content` is empty"),
        (turns(("user", "x")), "`messages` has no message of role assistant, so there is nothing to train on"),
        ({"instruction": "x"}, '`instruction` but no `output` (it has "instruction")'),
        ({"instruction": "", "output": "y"}, "`instruction` is empty"),
        ({"instruction": "x", "input": 4, "output": "y"}, "`input` is a number: give a string"),
        ({"instruction": "x", "output": ["y"]}, "`output` is an array: give a string"),
        ({"instruction": "x", "output": "a\ud800"}, "`output` has half a surrogate pair at character 2"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: Any, message: str) -> None:
    found = problems(jsonl(tmp_path, CHAT, row))
    assert len(found) == 1
    assert found[0].startswith("line 2: ")
    assert message in found[0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"messages": ', "line 2: is not JSON ("),
        (b'{"messages"', "line 2: is not JSON (Expecting ':' delimiter, column 12)"),
        (b'{"text": "\xff"}', "line 2: is not UTF-8 (byte 11): save the file as UTF-8"),
        (b"[" * 100_000, "line 2: is not JSON that can be read (RecursionError"),
        (b"9" * 5000, "line 2: is not JSON that can be read (ValueError"),
    ],
)
def test_a_line_that_is_no_json(tmp_path: Path, line: bytes, message: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(json.dumps(CHAT).encode() + b"\n" + line + b"\n")
    assert problems(file)[0].startswith(message)


def test_utf_16_is_recognised(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(CHAT), encoding="utf-16")
    assert problems(file)[0] == "line 1: is UTF-16: save the file as UTF-8"


def test_a_file_without_line_ends_is_not_read_into_memory(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    with file.open("wb") as hole:
        hole.truncate(40 * LONGEST_LINE)
    assert problems(file) == ["line 1: is longer than 64 MiB: put one row on each line"]


def test_ten_bad_rows_are_named_and_no_more(tmp_path: Path) -> None:
    with pytest.raises(RowProblems) as caught:
        read_rows(jsonl(tmp_path, *range(30)), "sft")
    assert len(caught.value.problems) == 10
    assert str(caught.value).endswith("(reading stopped after 10 bad rows)")


def rows(*texts: str) -> list[Row]:
    return [Row(text=text) for text in texts]


def test_held_out_rows_depend_on_seed_and_contents_alone() -> None:
    every = rows(*(f"row {number}" for number in range(200)))
    train, held = split(every, 0.05, seed=1)
    assert (len(train), len(held)) == (190, 10)
    assert sorted(train + held, key=every.index) == every
    assert split(every, 0.05, seed=1) == (train, held)
    assert split(every, 0.05, seed=2)[1] != held
    assert {row.text for row in split(every[::-1], 0.05, seed=1)[1]} == {row.text for row in held}


def test_equal_rows_are_never_divided() -> None:
    train, held = split(rows(*(["same"] * 50 + ["a", "b", "c"])), 0.5, seed=3)
    assert not {row.text for row in train} & {row.text for row in held}
    assert train
    assert held


@pytest.mark.parametrize(
    ("count", "fraction", "expected"), [(1, 0.5, 0), (2, 0.01, 1), (10, 0.0, 0), (10, 0.99, 9), (3, 0.5, 2)]
)
def test_both_sides_keep_a_row(count: int, fraction: float, expected: int) -> None:
    train, held = split(rows(*map(str, range(count))), fraction, seed=0)
    assert len(held) == expected
    assert len(train) == count - expected
