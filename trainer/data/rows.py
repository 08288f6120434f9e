"""Rows as a person writes them: reading a .jsonl or .json file, checking each row, splitting off held-out rows."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

from trainer.errors import PreparationError

ROLES = ("system", "user", "assistant")
MOST_PROBLEMS = 10
"""Bad rows that are named before reading stops."""
LONGEST_LINE = 64 * 2**20
"""Bytes of one row; a longer line is not a row but a file without line ends."""
_BLANK = b" \t\r\n\xef\xbb\xbf"
Objective = Literal["sft", "pretrain"]


class Message(TypedDict):
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True)
class Row:
    """One row: a conversation, or plain text for pretraining."""

    messages: tuple[Message, ...] = ()
    text: str | None = None

    @property
    def digest(self) -> str:
        """sha256 of the row's canonical JSON, in hex."""
        value = {"text": self.text} if self.text is not None else {"messages": self.messages}
        return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


class RowProblems(PreparationError):
    """A file with rows that cannot be used: `problems` holds up to MOST_PROBLEMS of them, as `FILE line 3: ...`."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        more = f"\n(reading stopped after {MOST_PROBLEMS} bad rows)" if len(problems) >= MOST_PROBLEMS else ""
        super().__init__("\n".join(problems) + more)


class _BadRow(Exception):
    """What is wrong with one row."""


def read_rows(path: Path, objective: Objective) -> list[Row]:
    """All rows of a .jsonl file (an object a line) or a .json file (an array of objects), in order.

    Raises RowProblems, which names file, line, key and what is allowed.
    """
    rows: list[Row] = []
    problems: list[str] = []
    for where, value in _values(path):
        try:
            if isinstance(value, _BadRow):
                raise value
            rows.append(_row(value, objective))
        except _BadRow as bad:
            problems.append(f"{path}{where}: {bad}")
            if len(problems) >= MOST_PROBLEMS:
                break
    if not rows and not problems:
        problems.append(f"{path} has no rows: give one JSON object a line, such as {_example(objective)}")
    if problems:
        raise RowProblems(problems)
    return rows


def split(rows: Sequence[Row], fraction: float, seed: int) -> tuple[list[Row], list[Row]]:
    """Training rows and held-out rows, each in the order of the file.

    Which rows are held out depends on the seed and their contents alone, so equal rows are never divided. Any
    fraction above 0 holds out at least one row, unless there is but one; training keeps at least one too.
    """
    ranks = [hashlib.sha256(f"{seed}:{row.digest}".encode()).digest() for row in rows]
    distinct = sorted(set(ranks))
    count = min(max(round(len(rows) * fraction), 1), len(distinct) - 1) if fraction > 0 else 0
    held = set(distinct[:count])
    train = [row for row, rank in zip(rows, ranks, strict=True) if rank not in held]
    return train, [row for row, rank in zip(rows, ranks, strict=True) if rank in held]


def digest_of_rows(rows: Iterable[Row]) -> str:
    """sha256 over rows in order, in hex."""
    whole = hashlib.sha256()
    for row in rows:
        whole.update(row.digest.encode())
    return whole.hexdigest()


def _values(path: Path) -> Iterator[tuple[str, Any]]:
    """Each row's place, as ` line 3` or ` row 3`, and its JSON value or a _BadRow."""
    if path.suffix == ".json":
        yield from _array(path)
        return
    number = 0
    with path.open("rb") as file:
        while raw := file.readline(LONGEST_LINE + 1):
            number += 1
            if len(raw) > LONGEST_LINE:
                yield (
                    f" line {number}",
                    _BadRow(f"is longer than {LONGEST_LINE // 2**20} MiB: put one row on each line"),
                )
                return
            if raw.strip(_BLANK):
                yield f" line {number}", _json(raw.rstrip(b"\r\n"), first=number == 1)


def _array(path: Path) -> Iterator[tuple[str, Any]]:
    raw = path.read_bytes()
    if not raw.strip(_BLANK):
        return
    value = _json(raw, first=True)
    if isinstance(value, _BadRow):
        yield "", _BadRow(f"{value} (rows one on each line belong into a file named .jsonl)")
    elif not isinstance(value, list):
        yield "", _BadRow(f"is {_named(value)}, not an array of rows: write [{{...}}, {{...}}], or use .jsonl")
    else:
        yield from ((f" row {number}", item) for number, item in enumerate(value, start=1))


def _json(raw: bytes, first: bool) -> Any:
    if first and raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _BadRow("is UTF-16: save the file as UTF-8")
    try:
        return json.loads(raw.decode("utf-8-sig" if first else "utf-8"))
    except UnicodeDecodeError as error:
        return _BadRow(f"is not UTF-8 (byte {error.start + 1}): save the file as UTF-8")
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}" if error.lineno > 1 else f"column {error.colno}"
        return _BadRow(f"is not JSON ({error.msg}, {place})")
    except (ValueError, RecursionError) as error:
        return _BadRow(f"is not JSON that can be read ({type(error).__name__}: {error})")


def _row(value: Any, objective: Objective) -> Row:
    if not isinstance(value, dict):
        raise _BadRow(f"is {_named(value)}, not an object: give {_example(objective)}")
    if objective == "pretrain":
        if "text" not in value:
            raise _BadRow(
                f"has no key `text`, which method=pretrain reads (it has {_keys(value)}): add it, or method=sft"
            )
        return Row(text=_string(value["text"], "text", may_be_empty=False))
    if "messages" in value:
        return Row(messages=_messages(value["messages"]))
    if "instruction" in value:
        return Row(messages=_instruction(value))
    hint = "; `text` is read by method=pretrain" if "text" in value else ""
    raise _BadRow(f"has neither `messages` nor `instruction` and `output` (it has {_keys(value)}){hint}")


def _messages(value: Any) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise _BadRow(f"`messages` is {_named(value)}: give an array of {{role, content}} objects")
    messages = []
    for index, item in enumerate(value):
        key = f"messages[{index}]"
        if not isinstance(item, dict):
            raise _BadRow(f"`{key}` is {_named(item)}: give an object with `role` and `content`")
        if item.get("role") not in ROLES:
            raise _BadRow(f"`{key}.role` is {_shown(item.get('role'))}: allowed are {', '.join(ROLES)}")
        if item["role"] == "system" and index > 0:
            raise _BadRow(f"`{key}.role` is system: only the first message may be")
        content = _string(item.get("content"), f"{key}.content", may_be_empty=item["role"] != "assistant")
        messages.append(Message(role=item["role"], content=content))
    if not any(message["role"] == "assistant" for message in messages):
        raise _BadRow("`messages` has no message of role assistant, so there is nothing to train on")
    return tuple(messages)


def _instruction(value: dict[str, Any]) -> tuple[Message, ...]:
    prompt = _string(value["instruction"], "instruction", may_be_empty=False)
    if value.get("input"):
        prompt = f"{prompt}\n\n{_string(value['input'], 'input', may_be_empty=True)}"
    if "output" not in value:
        raise _BadRow(f"has `instruction` but no `output` (it has {_keys(value)})")
    answer = _string(value["output"], "output", may_be_empty=False)
    return Message(role="user", content=prompt), Message(role="assistant", content=answer)


def _string(value: Any, key: str, may_be_empty: bool) -> str:
    if not isinstance(value, str):
        raise _BadRow(f"`{key}` is {_named(value)}: give a string")
    if not may_be_empty and not value.strip():
        raise _BadRow(f"`{key}` is empty")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _BadRow(f"`{key}` has half a surrogate pair at character {error.start + 1}, which is no text") from None
    return value


def _named(value: Any) -> str:
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "true or false", type(None): "missing or null"}
    return "an empty array" if value == [] else kinds.get(type(value), "a number")


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:40] + "..."


def _keys(value: dict[str, Any]) -> str:
    names = [_shown(key) for key in list(value)[:6]]
    return ", ".join(names) + (", ..." if len(value) > 6 else "") if names else "no keys"


def _example(objective: Objective) -> str:
    if objective == "pretrain":
        return '{"text": "..."}'
    return '{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}'
