"""Whether a file is what its name says, without the training stack: headers of weights read, JSON parsed, the tokenizer
built. Nothing of a file is run."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

HEADER_BYTES = 100 * 2**20
"""Longest header of a safetensors file, as the library has it."""


def problem(path: Path) -> str | None:
    """What is wrong with a file of a model, a tokenizer or prepared data; None where nothing is. Raises OSError."""
    check = next((check for end, check in _CHECKS.items() if path.name.endswith(end)), None)
    if path.name == "tokenizer.json":
        check = _tokenizer
    try:
        return check(path) if check is not None else None
    except ValueError as error:
        return f"cannot be read: {str(error).splitlines()[0]}"


def _safetensors(path: Path) -> str | None:
    """The header's offsets must fill the file to its last byte: format of safetensors, an 8-byte length, JSON, data."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, HEADER_BYTES):
            return "is no safetensors file, or is cut off in its header"
        header: dict[str, Any] = json.loads(file.read(length))
    if not isinstance(header, dict):
        return "is no safetensors file: its header is no object"
    spans = sorted(_span(name, about) for name, about in header.items() if name != "__metadata__")
    end = 0
    for first, last in spans:
        if first != end or last < first:
            return f"has tensors that overlap or leave a gap at byte {end}"
        end = last
    if 8 + length + end != size:
        return f"has {size} bytes where its header speaks of {8 + length + end}: it is cut off"
    return None


def _span(name: str, about: Any) -> tuple[int, int]:
    try:
        first, last = about["data_offsets"]
        return int(first), int(last)
    except (TypeError, KeyError, ValueError):
        raise ValueError(f"the header's entry {name!r} has no data_offsets") from None


def _json(path: Path) -> str | None:
    value = json.loads(path.read_bytes())
    return None if isinstance(value, dict | list) else "is no JSON object"


def _tokenizer(path: Path) -> str | None:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from tokenizers import Tokenizer

    try:
        Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise ValueError(str(error)) from error
    return None


_CHECKS: dict[str, Callable[[Path], str | None]] = {".safetensors": _safetensors, ".json": _json}
