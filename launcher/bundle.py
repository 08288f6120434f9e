"""Packing the staged part of a store: an index in JSON, and parts that are nothing but the files' bytes in a row.

No archive format: there is nothing in a part that could be a link, a device, a path or compressed. The index names
every file with size and sha256, in the order of their bytes, and every part; unpacking believes neither.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from conf.folder import write_json
from conf.staged import listing_file, record_file
from launcher.errors import InputError

FORMAT = 1
"""Version of the index."""
CHUNK = 2**20
"""Bytes read at a time."""


def write_bundle(file: Path, store: Path, records: Sequence[Mapping[str, Any]], part_size: int) -> dict[str, Any]:
    """Write `file` (the index) and `file.0001`, ... beside it; gives the index. Parts of at most `part_size` bytes.

    The index is written last, so that a bundle that was cut off cannot be taken for a whole one. Raises InputError
    where a bundle lies there already, or its folder cannot be written."""
    beside = sorted(file.parent.glob(f"{file.name}.[0-9][0-9][0-9][0-9]")) if file.parent.is_dir() else []
    if os.path.lexists(file):
        raise InputError(f"--bundle {file}: it is there already; choose another name, or remove it and its parts")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        for leftover in beside:
            leftover.unlink()  # of a bundle that was never finished: it has no index
        contents = list(_contents(store, records))
        files: list[dict[str, Any]] = []
        parts = _write_parts(file, _bytes(contents, files), part_size)
        index = {"format": FORMAT, "files": files, "parts": parts}
        write_json(file, index)
    except OSError as error:
        raise InputError(f"--bundle {file} cannot be written: {error.strerror or error}") from error
    return index


def _contents(store: Path, records: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Path]]:
    """Each file by its name in a store, and where it lies. Records come last: what they name must be there first."""
    found: dict[str, Path] = {}
    for record in records:
        for asset in record["assets"]:
            folder = Path(asset["path"]) if os.path.isabs(asset["path"]) else store / asset["path"]
            for file in asset["files"]:
                found[f"{asset['kind']}/{asset['digest']}/{file['name']}"] = folder / file["name"]
            listing = listing_file(store, asset["digest"])
            if listing.is_file():
                found[f"listings/{listing.name}"] = listing
        for name in record["index"]:
            found[f"index/{name}"] = store / "index" / name
    for record in records:
        place = record_file(store, record["key"])
        found[f"staged/{place.name}"] = place
    yield from found.items()


def _bytes(contents: Iterable[tuple[str, Path]], files: list[dict[str, Any]]) -> Iterator[bytes]:
    """The bytes of all files, one after the other; notes each in `files`."""
    for name, path in contents:
        digest, size = hashlib.sha256(), 0
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                size += len(chunk)
                yield chunk
        files.append({"name": name, "size": size, "sha256": digest.hexdigest()})


def _write_parts(file: Path, chunks: Iterator[bytes], part_size: int) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    rest = next(chunks, b"")
    while rest:
        part = file.with_name(f"{file.name}.{len(parts) + 1:04d}")
        digest, size = hashlib.sha256(), 0
        with part.open("wb") as opened:
            while rest and size < part_size:
                piece, rest = rest[: part_size - size], rest[part_size - size :]
                opened.write(piece)
                digest.update(piece)
                size += len(piece)
                rest = rest or next(chunks, b"")
            opened.flush()
            os.fsync(opened.fileno())
        parts.append({"name": part.name, "size": size, "sha256": digest.hexdigest()})
    return parts
