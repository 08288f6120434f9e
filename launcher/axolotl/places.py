"""Where a dataset lies: on the hub, or in files."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.axolotl.sheet import Sheet, is_off

_SUFFIXES = (".json", ".jsonl", ".csv", ".parquet", ".arrow", ".txt")
_BUILDERS = ("json", "jsonl", "csv", "parquet", "arrow", "text")
"""Names that `datasets` takes in place of a path, for files listed in data_files."""
_FOLDERS = (
    "data",
    "dataset",
    "datasets",
    "train",
    "local",
    "raw",
    "processed",
    "workspace",
    "out",
    "output",
    "outputs",
)
"""First parts of a path that name a folder on the machine, not an owner on the hub."""
_REMOTE = re.compile(r"[a-z][a-z0-9+]*://")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_SLICE = re.compile(r"(?P<split>\w+)(\[(?P<start>\d+)?:(?P<end>\d+)?\])?")


@dataclass(frozen=True)
class Place:
    """A set's place in the words of data.*; several where a recipe lists files."""

    source: str
    fields: tuple[dict[str, Any], ...]


def take(sheet: Sheet, prefix: str, to: str) -> Place | None:
    """Take the keys of a dataset that say where it lies. None where it cannot be had; the sheet says why.

    `prefix` is the dataset's place, as `datasets[0]`; `to` the fields' place in the new recipe, as `data`."""
    path = sheet.text(f"{prefix}.path")
    files = sheet.words(f"{prefix}.data_files") or []
    if path is None:
        where = f"{prefix}.path" if f"{prefix}.path" in sheet.places else prefix
        sheet.refuse(where, "a dataset needs a path: a hub id, or a file")
        return None
    if _REMOTE.match(path) or any(_REMOTE.match(file) for file in files):
        sheet.refuse(
            f"{prefix}.path", f"{path}: rows are read from the hub and from files; bring these here, and name the file"
        )
        return None
    if path == "synthetic":
        sheet.refuse(f"{prefix}.path", "rows of random tokens are for measurements alone")
        return None
    kind = sheet.text(f"{prefix}.ds_type")
    source = "file" if is_file(path, kind, bool(files), sheet.source.folder) else "hub"
    if source == "hub" and not _HUB_ID.fullmatch(path):
        sheet.refuse(f"{prefix}.path", f"{path} is neither a file nor a hub id (`owner/name`)")
        return None
    fields: dict[str, Any] = {"path": path}
    sheet.mapped(f"{prefix}.path", f"{to}.source, {to}.path")
    sheet.same(f"{prefix}.ds_type", "the kind of file is seen from its name")
    for key, field in (("name", "subset"), ("revision", "revision")):
        value = sheet.text(f"{prefix}.{key}")
        if value is not None and source == "hub":
            fields[field] = value
            sheet.mapped(f"{prefix}.{key}", f"{to}.{field}")
        else:
            sheet.same(f"{prefix}.{key}", "of hub datasets alone")
    _split(sheet, prefix, to, source, fields)
    _shards(sheet, prefix, to, fields)
    if files and source == "file" and path.lower().endswith(_SUFFIXES):
        sheet.same(f"{prefix}.data_files", "path names the file itself")
        files = []
    if not files:
        return Place(source, (fields,))
    sheet.mapped(f"{prefix}.data_files", f"{to}.path" if path in _BUILDERS else f"{to}.files")
    if path in _BUILDERS:
        return Place(source, tuple(fields | {"path": file} for file in files))
    return Place(source, (fields | {"files": files},))


def is_file(path: str, kind: str | None, has_files: bool, folder: Path) -> bool:
    """Whether a dataset's path means files. A hub id has at most one slash, and no name of a data file."""
    if path in _BUILDERS and has_files:
        return True
    if (
        path.startswith(("/", "./", "../", "~", "$"))
        or path.lower().endswith(_SUFFIXES)
        or "*" in path
        or path in (".", "..")
    ):
        return True
    expanded = os.path.expanduser(path)
    if os.path.exists(expanded) or (folder / expanded).exists():
        return True
    parts = path.rstrip("/").split("/")
    return len(parts) > 2 or "\\" in path or parts[0].lower() in _FOLDERS or (len(parts) == 1 and kind is not None)


def _split(sheet: Sheet, prefix: str, to: str, source: str, fields: dict[str, Any]) -> None:
    for key in ("split", "train_on_split"):
        split = sheet.text(f"{prefix}.{key}")
        if split is None:
            continue
        match = _SLICE.fullmatch(split)
        if source == "hub":
            fields["split"] = split
            sheet.mapped(f"{prefix}.{key}", f"{to}.split")
        elif match is None:
            sheet.refuse(f"{prefix}.{key}", f"{split}: of files a part is taken by numbers of rows, as `train[:1000]`")
        else:
            start, end = int(match["start"] or 0), match["end"]
            if start:
                fields["skip"] = start
            if end is not None and int(end) > start:
                fields["limit"] = int(end) - start
            sheet.mapped(
                f"{prefix}.{key}", f"{to}.skip, {to}.limit", "files have no splits but for the rows that are taken"
            )


def _shards(sheet: Sheet, prefix: str, to: str, fields: dict[str, Any]) -> None:
    shards = sheet.whole(f"{prefix}.shards", 1)
    if shards is not None:
        fields["shards"] = shards
        fields["shard"] = sheet.whole(f"{prefix}.shards_idx") or 0
        sheet.mapped(f"{prefix}.shards", f"{to}.shards", "the shuffle before the cut has a fixed seed")
        sheet.mapped(f"{prefix}.shards_idx", f"{to}.shard")
    else:
        sheet.same(f"{prefix}.shards_idx", "without shards it has no effect")
    skip = sheet.whole(f"{prefix}.skip")
    if skip is not None:
        fields["skip"] = skip
        sheet.mapped(f"{prefix}.skip", f"{to}.skip")
    if not is_off(sheet.places.get(f"{prefix}.trust_remote_code")):
        sheet.same(f"{prefix}.trust_remote_code", "datasets no longer run a repository's own code")
