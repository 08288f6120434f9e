"""Files of rows: which they are, and a digest of their source, without reading a row."""

import glob
import hashlib
import json
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from conf.schema.addresses import is_remote
from conf.schema.data import DataConfig, RowsConfig

SUFFIXES = (".jsonl", ".json", ".parquet", ".arrow", ".csv", ".txt")
"""Ends of the names of files that are read."""
SAMPLE = 2**20
"""Bytes at the front and at the end of a file that stand for it where it is streamed."""
_ABOUT = frozenset({"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"})
"""Files of a dataset's folder that hold no rows."""


class RowsMissing(ValueError):
    """A path that names no files of rows; the message says what is there and what to give."""


def row_files(path: str, files: Sequence[str] = (), split: str = "train") -> list[str]:
    """The files that a path means, in the order they are read: itself, those in a folder, or those of a pattern.

    `files` picks some of a folder, by name or pattern. In a folder that the library datasets has saved, its parts are
    taken in their order; of several splits `split`. Raises RowsMissing.
    """
    if os.path.isdir(path):
        found = _in_folder(Path(path), files, split)
    elif any(mark in path for mark in "*?["):
        found = sorted(name for name in glob.glob(path, recursive=True) if os.path.isfile(name))
        if not found:
            raise RowsMissing(f"no file is named like {path}: see the pattern, and write it with quotes")
    else:
        found = [path]
    for name in found:
        if not os.path.isfile(name):
            raise RowsMissing(f"there is no file {name}: give the path of a file of rows, of a folder, or a pattern")
        if not os.access(name, os.R_OK):
            raise RowsMissing(f"{name} may not be read by you: see its permissions")
        if not name.endswith(SUFFIXES):
            raise RowsMissing(f"{name} is none of {', '.join(SUFFIXES)}: these formats are read")
    return found


def derive_rows(data: DataConfig) -> None:
    """Make paths of files absolute, and fill data.digest; it stays None where a file is missing. Idempotent."""
    train = train_sets(data)
    held = held_out_sets(data)
    for rows in (data, *train, *held):
        if source_of(rows) == "file" and rows.path is not None:
            rows.path = rows.path if is_remote(rows.path) else os.path.abspath(os.path.expanduser(rows.path))
    if data.eval_path is not None and not is_remote(data.eval_path):
        data.eval_path = os.path.abspath(os.path.expanduser(data.eval_path))
        held = held_out_sets(data)
    digest = hashlib.sha256()
    try:
        for rows in (*train, *held):
            _add(digest, rows, data.streaming)
    except (OSError, RowsMissing):
        data.digest = None
        return
    data.digest = digest.hexdigest() if train else None


def train_sets(data: DataConfig) -> list[RowsConfig]:
    """The sets that are trained on; empty for built-in rows, and where none is named."""
    if data.source == "sets":
        return list(data.sets)
    return [] if data.source == "python_docs" or data.path is None else [data]


def held_out_sets(data: DataConfig) -> list[RowsConfig]:
    """The sets that are held out; empty where they are split off. data.eval_path is read as data.path is, from its
    first row to its last."""
    if data.eval_path is not None:
        update: dict[str, Any] = {
            "path": data.eval_path,
            "files": [],
            "shards": None,
            "skip": 0,
            "limit": None,
            "source": "file",
        }
        return [data.model_copy(update=update)]
    return list(data.eval_sets)


def source_of(rows: RowsConfig) -> str:
    """file, remote (an address) or hub, where a set of rows lies; python_docs and sets for a group that is none
    itself."""
    source = str(getattr(rows, "source", "file"))
    return "remote" if source == "file" and is_remote(rows.path or "") else source


def _in_folder(folder: Path, files: Sequence[str], split: str) -> list[str]:
    if (folder / "dataset_dict.json").is_file():
        folder = folder / split.partition("[")[0]
    state = folder / "state.json"
    if state.is_file() and not files:
        parts = json.loads(state.read_text(encoding="utf-8")).get("_data_files", [])
        return [str(folder / part["filename"]) for part in parts]
    if files:
        picked = [sorted(str(path) for path in folder.glob(name)) for name in files]
        missing = [name for name, paths in zip(files, picked, strict=True) if not paths]
        if missing:
            raise RowsMissing(f"the folder {folder} has no file {missing[0]}: see data.files")
        return [path for paths in picked for path in paths]
    every = [path for path in sorted(folder.rglob("*")) if path.suffix in SUFFIXES and path.name not in _ABOUT]
    found = [path for path in every if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    kinds = sorted({path.suffix for path in found})
    if not found:
        raise RowsMissing(f"the folder {folder} has no file of rows: {', '.join(SUFFIXES)} are read")
    if len(kinds) > 1:
        raise RowsMissing(
            f"the folder {folder} has files of several kinds ({', '.join(kinds)}): name one kind with "
            f"data.files=['*{kinds[0]}'] or a pattern in data.path"
        )
    return [str(path) for path in found]


def _add(digest: "hashlib._Hash", rows: RowsConfig, streaming: bool) -> None:
    """One set's source. What decides how it is read is part of the identity by itself."""
    if source_of(rows) == "hub":
        named = ["hub", rows.path, rows.subset, rows.split, rows.revision, rows.files]
        digest.update(json.dumps(named).encode())
        return
    if source_of(rows) == "remote":
        digest.update(json.dumps(["remote", rows.path, rows.files]).encode())
        return
    found = row_files(rows.path or "", rows.files, rows.split)
    if len(found) != 1:
        digest.update(f"{len(found)} files".encode())
    for name in found:
        with open(name, "rb") as file:
            facts = os.fstat(file.fileno())
            if not streaming:
                digest.update(_digest(name, facts.st_ino, facts.st_size, facts.st_mtime_ns))
                continue
            size = facts.st_size
            digest.update(f"{size} bytes".encode() + hashlib.sha256(file.read(SAMPLE)).digest())
            file.seek(max(0, size - SAMPLE))
            digest.update(hashlib.sha256(file.read(SAMPLE)).digest())


@lru_cache(maxsize=1024)
def _digest(name: str, inode: int, size: int, changed: int) -> bytes:
    """sha256 of a file; once for all runs of a sweep while the file is the same."""
    with open(name, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
