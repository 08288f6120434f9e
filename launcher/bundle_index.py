"""The index of a bundle, as somebody else wrote it: read with nothing believed."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conf.staged import KINDS, is_digest, unsafe
from launcher.bundle import FORMAT
from launcher.errors import InputError

LONGEST = 2**28
"""Bytes of an index: millions of files fit."""
GROUPS = (*KINDS, "listings", "index", "staged")
"""First parts of names in a bundle."""


class BadBundle(InputError):
    """A bundle that is damaged, incomplete, or holds what must not come into a store. Nothing was unpacked."""

    def __init__(self, message: str) -> None:
        super().__init__(f"{message}. Nothing was unpacked")


@dataclass(frozen=True)
class Piece:
    """A file or a part: name, bytes, sha256 in hex."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Index:
    """What a bundle says of itself."""

    files: list[Piece]
    parts: list[Piece]


def read_index(file: Path) -> Index:
    """The index, its names and sizes checked against each other. Raises BadBundle."""
    try:
        with file.open("rb") as opened:
            raw = opened.read(LONGEST + 1)
    except OSError as error:
        raise InputError(f"--from-bundle {file} cannot be read: {error.strerror}") from error
    try:
        if len(raw) > LONGEST:
            raise ValueError("it is too long")
        value = json.loads(raw)
        if value["format"] != FORMAT:
            raise ValueError(f"it has format {value['format']!r}, and this version reads {FORMAT}")
        index = Index([_piece(one) for one in value["files"]], [_piece(one) for one in value["parts"]])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadBundle(f"{file} is no index of a bundle ({error}): give the file that --bundle wrote") from None
    _check_names(file, index)
    if sum(one.size for one in index.files) != sum(part.size for part in index.parts):
        raise BadBundle(f"{file}: its files have other sizes than its parts")
    return index


def _piece(value: Any) -> Piece:
    name, size, digest = value["name"], value["size"], value["sha256"]
    if not isinstance(name, str) or not is_digest(digest):
        raise ValueError(f"no name or no sha256 in {str(value)[:80]}")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ValueError(f"{name!r} has size {size!r}")
    return Piece(name, size, digest)


def _check_names(file: Path, index: Index) -> None:
    for number, part in enumerate(index.parts, start=1):
        if number > 9999 or not part.name.endswith(f".{number:04d}") or "/" in part.name or unsafe(part.name):
            raise BadBundle(f"{file}: part {number} is called {part.name!r}, not {file.name}.{number:04d}")
    for one in index.files:
        reason = unsafe(one.name) or _misplaced(one.name)
        if reason is not None:
            raise BadBundle(f"{file} holds a file whose name {one.name!r} {reason}")
    _check_distinct(file, [one.name for one in index.files])


def _misplaced(name: str) -> str | None:
    """Why a store has no such file."""
    group, *rest = name.split("/")
    if group not in GROUPS:
        return f"begins with none of {', '.join(GROUPS)}"
    if group in KINDS:
        return None if len(rest) >= 2 and is_digest(rest[0]) else "is not below a folder named by its digest"
    return None if len(rest) == 1 and rest[0].endswith(".json") else "is no JSON file right below its folder"


def _check_distinct(file: Path, names: Iterable[str]) -> None:
    """No name twice, also where a file system makes no difference between capitals; no file that is a folder too."""
    seen: set[str] = set()
    folders: set[str] = set()
    for name in names:
        folded = name.casefold()
        parents = {folded.rsplit("/", depth)[0] for depth in range(1, folded.count("/") + 1)}
        if folded in seen or folded in folders or parents & seen:
            raise BadBundle(f"{file} holds {name!r} twice, or as a file and a folder")
        seen.add(folded)
        folders |= parents
