"""Whether a store holds all that a run touches: by the record that staging left there, file for file, no network."""

import hashlib
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conf.folder import read_json
from conf.schema.rows import held_out_sets, source_of, train_sets
from conf.schema.run import RunConfig
from conf.staged import KINDS, digest_of_files, is_digest, record_file, staged_key, unsafe
from launcher import loadable
from launcher.errors import AssetsMissing

SMALL = 2**24
"""Bytes up to which a file's digest is computed before every submission; of larger ones size and header are looked
at."""


@dataclass(frozen=True)
class Lack:
    """Something that a run needs and that is not there, or not as it was staged."""

    asset: str
    """Kind and id, as `models owner/name`."""
    file: str
    """Where it should lie; "" for the asset as a whole."""
    what: str
    """What is wrong, a clause behind the file's name."""

    def __str__(self) -> str:
        return f"{self.file or self.asset} {self.what}"


@dataclass(frozen=True)
class Completeness:
    """What was found."""

    lacks: list[Lack]
    assets: Sequence[Mapping[str, Any]]
    """The record's assets; empty where nothing was staged."""


def look(config: RunConfig, *, whole: bool) -> Completeness:
    """Compare the store of a derived config with the record of its assets.

    Of every file presence and size, of weights the headers, of the rest that it can be read; digests of all files with
    `whole`, else of those up to SMALL bytes."""
    store = Path(str(config.store.root))
    record = read_json(record_file(store, staged_key(config)))
    if not record:
        return Completeness(list(_unrecorded(config, store)), [])
    lacks = [lack for asset in record["assets"] for lack in _asset(asset, store, whole)]
    lacks += _index(record, store)
    return Completeness(lacks, record["assets"])


def require(config: RunConfig) -> None:
    """Raise AssetsMissing, naming what is missing and what to type, where an offline run would not find its assets.

    What the login node prepares before submission needs no record yet: preparing names what is missing."""
    record = record_file(Path(str(config.store.root)), staged_key(config))
    if config.site.prepare == "login" and not record.is_file():
        return
    lacks = look(config, whole=False).lacks
    if lacks:
        raise AssetsMissing(told(lacks, config))


def told(lacks: Sequence[Lack], config: RunConfig, words: Sequence[str] = ()) -> str:
    """All that is missing, a line each, and the one command that stages it."""
    lines = "".join(f"\n  {lack}" for lack in lacks)
    return f"offline=true, and the store {config.store.root} is not complete for this run:{lines}\n{fix(config, words)}"


def fix(config: RunConfig, words: Sequence[str] = ()) -> str:
    """What to type where there is a network."""
    typed = [word for word in words if not word.lstrip("+").startswith(("offline=", "cluster=", "store.root="))]
    typed = typed or _words(config)
    command = shlex.join(["python", "-m", "launcher", "stage", *typed, "--store", str(config.store.root)])
    return f"where the sources are reached, type `{command}`; or bring a bundle: `stage --from-bundle FILE`"


def _words(config: RunConfig) -> list[str]:
    """The fields that choose model and rows, for a command that nobody kept."""
    words = [f"model={config.model.name}", f"model.id={config.model.id}", f"data={config.data.name}"]
    return words + ([f"data.path={config.data.path}"] if config.data.path else [])


def _unrecorded(config: RunConfig, store: Path) -> Iterator[Lack]:
    """A run of which nothing was staged: fine where all of it lies on this machine's own disks."""
    sets = (*train_sets(config.data), *held_out_sets(config.data))
    tokenizer = config.model.tokenizer
    away = [rows for rows in sets if source_of(rows) == "hub"]
    if config.model.source == "folder" and not away and (tokenizer is None or os.path.isdir(tokenizer)):
        for path in sorted(Path(config.model.id).iterdir()):
            if path.name.endswith((".safetensors", ".json")) and path.is_file():
                wrong = loadable.problem(path)
                if wrong:
                    yield Lack(f"models {config.model.id}", str(path), wrong)
        return
    yield Lack(f"model {config.model.id}, data {config.data.name}", "", f"are not recorded in {store}: never staged")


def _asset(asset: Mapping[str, Any], store: Path, whole: bool) -> Iterator[Lack]:
    name = f"{asset['kind']} {asset['id']}"
    inside = not os.path.isabs(asset["path"])
    folder = store / asset["path"] if inside else Path(asset["path"])
    if inside and (asset["kind"] not in KINDS or asset["path"] != f"{asset['kind']}/{asset['digest']}"):
        yield Lack(name, str(folder), "is not where a store keeps such things: the record is damaged")
        return
    if digest_of_files(asset["files"]) != asset["digest"]:
        yield Lack(name, str(folder), "is recorded with files that do not give its digest: the record is damaged")
        return
    licence = asset.get("licence") or {}
    if licence.get("gated") and not licence.get("accepted_by"):
        yield Lack(name, "", "is gated, and nobody is recorded to have accepted its licence")
    for file in asset["files"]:
        wrong = _file(folder, file, store if inside else None, whole)
        if wrong:
            yield Lack(name, str(folder / file["name"]), wrong)


def _file(folder: Path, file: Mapping[str, Any], store: Path | None, whole: bool) -> str | None:
    """What is wrong with one file of an asset; `store` where it must not lead out of there."""
    reason = unsafe(file["name"])
    if reason is not None:
        return reason
    path = folder / file["name"]
    try:
        if store is not None and path.resolve() != (store.resolve() / path.relative_to(store)):
            return "is a link, or lies behind one: files of a store are its own"
        if not path.is_file():
            return "is missing"
        size = path.stat().st_size
        if size != file["size"]:
            return f"has {size} bytes, not {file['size']}"
        if whole or size <= SMALL:
            with path.open("rb") as opened:
                if hashlib.file_digest(opened, "sha256").hexdigest() != file["sha256"]:
                    return "has another sha256 than when it was staged: it is damaged"
        return loadable.problem(path)
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _index(record: Mapping[str, Any], store: Path) -> Iterator[Lack]:
    """The small files by which a run finds its assets."""
    digests = {asset["digest"] for asset in record["assets"]}
    for name in record["index"]:
        path = store / "index" / name
        found = read_json(path) if unsafe(name) is None and "/" not in name else {}
        if not found:
            yield Lack("index", str(path), "is missing: by it the run finds what was staged")
        elif not is_digest(found.get("digest")) or ("path" not in found and found["digest"] not in digests):
            # Folders that lie elsewhere are found anew, by their files' times.
            yield Lack("index", str(path), "names something that was not staged for this run")
