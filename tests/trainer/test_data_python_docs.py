"""The built-in rows: real, as many as said, the same everywhere, and held-out rows that training has not seen."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.data.python_docs import SHARED_WORDS, Documented, python_docs, question, row, word_runs
from trainer.data.rows import Row, digest_of_rows

Parts = tuple[list[Row], list[Row]]


@pytest.fixture(scope="module")
def parts() -> Parts:
    return python_docs()


def text(row: Row) -> str:
    return "\n".join(message["content"] for message in row.messages)


def package(row: Row) -> str:
    """The top-level package, read from the question; functions of builtins have none."""
    named = row.messages[0]["content"].split("`")[1].partition("(")[0]
    return named.partition(".")[0] if named.partition(".")[0] in sys.stdlib_module_names else "builtins"


def test_about_three_thousand_rows(parts: Parts) -> None:
    train, held = parts
    assert 2500 <= len(train) <= 3500
    assert 150 <= len(held) <= 300


def test_held_out_packages_have_no_training_row(parts: Parts) -> None:
    train, held = parts
    assert len({package(row) for row in held}) > 5
    assert not {package(row) for row in held} & {package(row) for row in train}


def test_no_run_of_twelve_words_is_shared(parts: Parts) -> None:
    train, held = parts
    assert SHARED_WORDS == 12
    seen = {run for row in train for run in word_runs(text(row))}
    assert [row for row in held if any(run in seen for run in word_runs(text(row)))] == []


def test_word_runs_see_through_case_and_punctuation() -> None:
    words = "One two, three. four five six seven eight nine ten eleven twelve"
    assert list(word_runs(words)) == list(word_runs(words.upper().replace(",", " --")))
    assert len(list(word_runs(words + " thirteen"))) == 2
    assert list(word_runs("one two three")) == []


def test_answers_are_docstrings_verbatim(parts: Parts) -> None:
    answers = {row.messages[1]["content"] for part in parts for row in part}
    for documented in (json.dumps, os.path.join, str.split, inspect.getdoc):
        doc = inspect.getdoc(documented)
        assert doc is not None
        assert doc in answers or len(doc) not in range(40, 1001)
    assert inspect.getdoc(str.split) in answers


def test_every_row_is_one_question_and_one_answer(parts: Parts) -> None:
    rows = [*parts[0], *parts[1]]
    assert all([message["role"] for message in row.messages] == ["user", "assistant"] for row in rows)
    questions = [row.messages[0]["content"] for row in rows]
    answers = [row.messages[1]["content"] for row in rows]
    assert len(set(questions)) == len(rows)
    assert len(set(answers)) == len(rows)
    assert len({asked.split("`")[0] for asked in questions}) >= 6


def test_a_question_names_the_function() -> None:
    item = Documented("json.dumps", "json", "function", "obj, *, indent=None", "Serialise.")
    assert "json.dumps" in question(item)
    assert row(item).messages[1]["content"] == "Serialise."


def test_another_process_makes_the_same(parts: Parts) -> None:
    code = (
        "from trainer.data.python_docs import python_docs as make\n"
        "from trainer.data.rows import digest_of_rows as digest\nprint(*map(digest, make()))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONHASHSEED": "77"},
    )
    assert said.stdout.split() == [digest_of_rows(part) for part in parts]
    assert said.stderr == ""
