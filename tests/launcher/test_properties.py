"""Thousands of random lines: refused with problems or accepted, never a traceback, never a hang; and what is accepted
freezes, reloads and validates to the same config and digests."""

import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from conf.folder import RunFolder
from conf.schema.identity import identity_digest
from conf.schema.problems import ConfigProblems
from launcher.freeze import dump_yaml
from launcher.manifest import config_digest
from launcher.overrides import Value, check
from launcher.resolve import resolve
from tests.launcher.lines import TEXT, combinations, lines

LINES = 3000
WATCHDOG = 30.0
"""Seconds after which a line counts as hanging."""


class Hangs(BaseException):
    """A line that is not done in time; no `except Exception` of the code under test catches it."""


@contextmanager
def watchdog() -> Iterator[None]:
    """Raise Hangs in the block after WATCHDOG seconds. Gives the alarm back to who had set it (pytest-timeout)."""

    def bark(_signal: int, _frame: FrameType | None) -> None:
        raise Hangs

    handler = signal.signal(signal.SIGALRM, bark)
    left, interval = signal.setitimer(signal.ITIMER_REAL, WATCHDOG)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left, interval)
        signal.signal(signal.SIGALRM, handler)


def rows_in(folder: Path) -> Path:
    """A file of rows for the lines that need one."""
    rows = folder / "rows.jsonl"
    rows.write_text('{"text": "a"}\n')
    return rows


def test_thousands_of_lines(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    combos = combinations(rows_in(tmp_path))
    seen: Counter[str] = Counter()

    @settings(
        max_examples=LINES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(lines(combos))
    def run(words: list[str]) -> None:
        with watchdog():
            seen[_judge(words, folder)] += 1

    run()
    total = sum(seen.values())
    assert total >= LINES * 0.9
    assert seen["accepted"] >= total * 0.5, seen
    assert seen["refused"] >= total * 0.25, seen


def _judge(words: list[str], folder: RunFolder) -> str:
    try:
        resolved = resolve(words)
    except ConfigProblems as error:
        assert error.problems and all(problem.message for problem in error.problems)
        assert any(not problem.warning for problem in error.problems)
        return "refused"
    config = resolved.config
    folder.config_file.write_text(dump_yaml(config.dump()), encoding="utf-8")
    again = folder.config()
    assert again == config
    assert (config_digest(again), identity_digest(again)) == (config_digest(config), identity_digest(config))
    assert check(resolved.overrides).canonical == list(resolved.overrides)
    return "accepted"


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(TEXT)
def test_any_text_survives_and_so_does_its_canonical_spelling(text: str) -> None:
    checked = check([f"model.chat_template={text}"])
    if not checked.problems:
        (value,) = checked.values
        assert check(checked.canonical).values == [value]
        if not text.strip().startswith(("'", '"')) and "\\" not in text:
            assert value == Value("model.chat_template", text)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.lists(st.one_of(TEXT, TEXT.map(lambda text: f"data.sets=[{text}]")), max_size=4))
def test_any_words_at_all(words: list[str]) -> None:
    with watchdog():
        check(words)


def test_the_watchdog_barks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.launcher.test_properties.WATCHDOG", 0.05)
    with pytest.raises(Hangs), watchdog():
        time.sleep(20)
