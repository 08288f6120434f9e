"""Values from files of rows, one after the other: each with its place in the file, or with what is wrong there."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from trainer.data.rows import BadRow
from trainer.data.wording import named

LONGEST_LINE = 64 * 2**20
"""Bytes of one row; a longer line is not a row but a file without line ends."""
_BLANK = b" \t\r\n\xef\xbb\xbf"
Value = tuple[str, Any]
"""A row's place, as ` line 3` or ` row 3`, and its value or a BadRow."""


def values(path: Path, field_text: str = "text") -> Iterator[Value]:
    """The rows of one file, by the end of its name. A line of a .txt file is a row with the key `field_text`.

    Raises OSError; what is wrong with the contents comes as a BadRow."""
    if path.suffix == ".txt":
        yield from _text(path, field_text)
    else:
        yield from _READERS.get(path.suffix, _lines)(path)


def _lines(path: Path) -> Iterator[Value]:
    for number, raw in _raw_lines(path):
        if isinstance(raw, BadRow):
            yield f" line {number}", raw
        elif raw.strip(_BLANK):
            yield f" line {number}", _json(raw.rstrip(b"\r\n"), first=number == 1)


def _text(path: Path, key: str) -> Iterator[Value]:
    for number, raw in _raw_lines(path):
        if isinstance(raw, BadRow):
            yield f" line {number}", raw
        elif raw.strip(_BLANK):
            text = _decoded(raw.rstrip(b"\r\n"), first=number == 1)
            yield f" line {number}", text if isinstance(text, BadRow) else {key: text}


def _raw_lines(path: Path) -> Iterator[tuple[int, bytes | BadRow]]:
    number = 0
    with path.open("rb") as file:
        while raw := file.readline(LONGEST_LINE + 1):
            number += 1
            if len(raw) > LONGEST_LINE:
                yield number, BadRow(f"is longer than {LONGEST_LINE // 2**20} MiB: put one row on each line")
                return
            yield number, raw


def _array(path: Path) -> Iterator[Value]:
    raw = path.read_bytes()
    if not raw.strip(_BLANK):
        return
    value = _json(raw, first=True)
    if isinstance(value, BadRow):
        rows = list(_lines(path))
        if len(rows) > 1 and isinstance(rows[0][1], dict):
            # A file of lines under this name is common enough to be read for what it is.
            yield from rows
            return
        yield "", BadRow(f"{value} (rows one on each line belong into a file named .jsonl)")
    elif not isinstance(value, list):
        yield "", BadRow(f"is {named(value)}, not an array of rows: write [{{...}}, {{...}}], or use .jsonl")
    else:
        yield from ((f" row {number}", item) for number, item in enumerate(value, start=1))


def _csv(path: Path) -> Iterator[Value]:
    """Rows of a table whose first line names its columns; every value is text."""
    csv.field_size_limit(LONGEST_LINE)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.DictReader(file), start=1):
                if None in row or None in row.values():
                    yield f" row {number}", BadRow("has not as many values as the first line has names")
                else:
                    yield f" row {number}", row
    except UnicodeDecodeError as error:
        yield "", BadRow(f"is not UTF-8 (byte {error.start + 1}): save the file as UTF-8")
    except csv.Error as error:
        yield "", BadRow(f"is not CSV that can be read ({error})")


def _parquet(path: Path) -> Iterator[Value]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            yield from _batches(file.iter_batches(batch_size=1000))
    except pa.ArrowInvalid as error:
        yield "", BadRow(f"is not Parquet that can be read ({error})")


def _arrow(path: Path) -> Iterator[Value]:
    """Both forms of Arrow's files: a stream, as the library datasets saves it, and one with an index at its end."""
    import pyarrow as pa

    try:
        with path.open("rb") as file:
            begins = file.read(6)
        with pa.memory_map(str(path)) as source:
            if begins == b"ARROW1":
                reader = pa.ipc.open_file(source)
                yield from _batches(reader.get_batch(number) for number in range(reader.num_record_batches))
            else:
                yield from _batches(iter(pa.ipc.open_stream(source)))
    except pa.ArrowInvalid as error:
        yield "", BadRow(f"is not Arrow that can be read ({error})")


def _batches(batches: Iterator[Any]) -> Iterator[Value]:
    number = 0
    for batch in batches:
        for value in batch.to_pylist():
            number += 1
            yield f" row {number}", without_nulls(value)


def without_nulls(value: Any) -> Any:
    """A value without keys of null, which tables put in where some rows lack what others have."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def _decoded(raw: bytes, first: bool) -> str | BadRow:
    if first and raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return BadRow("is UTF-16: save the file as UTF-8")
    try:
        return raw.decode("utf-8-sig" if first else "utf-8")
    except UnicodeDecodeError as error:
        return BadRow(f"is not UTF-8 (byte {error.start + 1}): save the file as UTF-8")


def _json(raw: bytes, first: bool) -> Any:
    text = _decoded(raw, first)
    if isinstance(text, BadRow):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}" if error.lineno > 1 else f"column {error.colno}"
        return BadRow(f"is not JSON ({error.msg}, {place})")
    except (ValueError, RecursionError) as error:
        return BadRow(f"is not JSON that can be read ({type(error).__name__}: {error})")


_READERS: dict[str, Callable[[Path], Iterator[Value]]] = {
    ".json": _array, ".csv": _csv, ".parquet": _parquet, ".arrow": _arrow,
}  # fmt: skip
