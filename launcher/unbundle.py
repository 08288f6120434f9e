"""Unpacking a bundle: everything is checked beside the store, and appears in it whole or not at all."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from conf.folder import read_json
from conf.staged import KINDS
from launcher.bundle_contents import check_contents
from launcher.bundle_index import BadBundle, Index, read_index

CHUNK = 2**20
"""Bytes read at a time."""
SPARE = 2**28
"""Bytes that stay free on the disk."""


def unbundle(file: Path, store: Path, *, allow_code: bool = False) -> dict[str, Any]:
    """Put a bundle's contents into a store; gives what came, and what to type for local folders and files.

    Raises BadBundle, with nothing changed, where a part is missing or anything is not what the index says, or the
    bundle holds what a store must not."""
    index = read_index(file)
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    _require_space(store, index)
    incoming = Path(tempfile.mkdtemp(dir=store, prefix=".incoming-"))
    try:
        _write_files(index, _part_bytes(file, index), incoming)
        records = check_contents(incoming, allow_code)
        _move(incoming, store)
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    assets = {asset["digest"]: asset for record in records for asset in record["assets"]}
    shown = [
        {name: asset[name] for name in ("kind", "source", "id", "revision", "digest")}
        | {"path": str(store / asset["kind"] / asset["digest"])}
        for asset in assets.values()
    ]
    return {"store": str(store), "assets": shown, "type": [*_to_type(store, list(assets.values()))]}


def _require_space(store: Path, index: Index) -> None:
    needed, free = sum(file.size for file in index.files), shutil.disk_usage(store).free
    if needed + SPARE > free:
        raise BadBundle(
            f"{store}: the bundle holds {needed / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free: make room, or choose "
            "another store with --store DIR"
        )


def _part_bytes(file: Path, index: Index) -> Iterator[bytes]:
    """The bytes of all parts, of each part no more than the index says. Raises BadBundle after a part that differs."""
    for part in index.parts:
        path, digest, left = file.with_name(part.name), hashlib.sha256(), part.size
        if path.is_symlink() or not path.is_file():
            raise BadBundle(f"the part {path} is missing: bring all {len(index.parts)} parts of the bundle")
        if path.stat().st_size != part.size:
            raise BadBundle(f"the part {path} has {path.stat().st_size} bytes, not {part.size}: copy it again")
        with path.open("rb") as opened:
            while left and (chunk := opened.read(min(CHUNK, left))):
                digest.update(chunk)
                left -= len(chunk)
                yield chunk
        if left or digest.hexdigest() != part.sha256:
            raise BadBundle(f"the part {path} has another sha256 than the index names: copy it again")


def _write_files(index: Index, chunks: Iterator[bytes], folder: Path) -> None:
    rest = b""
    for file in index.files:
        path, digest, left = folder / file.name, hashlib.sha256(), file.size
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as opened:
            while left:
                rest = rest or next(chunks, b"")
                if not rest:
                    raise BadBundle(f"the parts end within {file.name}: copy them again")
                piece, rest = rest[:left], rest[left:]
                opened.write(piece)
                digest.update(piece)
                left -= len(piece)
            opened.flush()
            os.fsync(opened.fileno())
        if digest.hexdigest() != file.sha256:
            raise BadBundle(f"{file.name} has another sha256 than the index names: copy the bundle's parts again")
    for _ in chunks:  # to the end, so that the last part's digest is looked at
        raise BadBundle("the parts hold more than the index names: the bundle is damaged")


def _move(incoming: Path, store: Path) -> None:
    """Folders by one rename each, then what names them; one that is there already has the same contents."""
    for kind in KINDS:
        for folder in sorted((incoming / kind).glob("*")):
            target = store / kind / folder.name
            target.parent.mkdir(mode=0o700, exist_ok=True)
            if target.is_dir() and not _damaged(target, incoming / "listings" / f"{folder.name}.json", folder):
                continue
            if target.is_dir():
                shutil.rmtree(target)
            os.rename(folder, target)
    for group in ("listings", "index", "staged"):
        for file in sorted((incoming / group).glob("*.json")):
            (store / group).mkdir(mode=0o700, exist_ok=True)
            os.replace(file, store / group / file.name)


def _damaged(there: Path, listing: Path, fresh: Path) -> bool:
    """Whether a folder in the store lacks files of a fresh one, or has them in other sizes."""
    files = read_json(listing).get("files") or [
        {"name": path.relative_to(fresh).as_posix(), "size": path.stat().st_size}
        for path in fresh.rglob("*")
        if path.is_file()
    ]
    return any(
        not (there / file["name"]).is_file() or (there / file["name"]).stat().st_size != file["size"] for file in files
    )


def _to_type(store: Path, assets: list[Mapping[str, Any]]) -> Iterator[str]:
    """Words that stand for folders and files of the machine where the bundle was packed."""
    for asset in assets:
        place = store / asset["kind"] / asset["digest"]
        if asset["kind"] == "rows":
            names = [file["name"] for file in asset["files"]]
            path = place / names[0] if len(names) == 1 else place
            yield f"data.path={json.dumps(str(path))[1:-1]}"
        elif asset["kind"] == "models" and asset["source"] == "folder":
            yield f"model.id={json.dumps(str(place))[1:-1]}"
