"""The record of what a run touches, written into the store beside it: by it a store is proved complete and packed."""

import os
from pathlib import Path
from typing import Any

from conf.folder import now, read_json, write_json
from conf.schema.data import RowsConfig
from conf.schema.rows import held_out_sets, row_files, source_of, train_sets
from conf.schema.run import RunConfig
from conf.staged import asset_identity, digest_of_files, record_file, staged_key
from trainer.data.prepared import DataAsset
from trainer.sources.hub import Licence, pin
from trainer.sources.resolve import ModelAsset
from trainer.sources.tokenizer import tokenizer_pin
from trainer.store import Entry, Store, files_under, read_files

FORMAT = 1
"""Version of the record."""


def record(config: RunConfig, model: ModelAsset, data: DataAsset, store: Store) -> dict[str, Any]:
    """Write down every asset of a run: kind, where it came from, its digest, its files with size and sha256, its
    licence; and the names of the index files by which they are found. Gives the record."""
    assets = [_model(config, model, store)]
    if model.tokenizer is not None:
        assets.append(_tokenizer(config, model.tokenizer, store))
    assets.append(_data(config, data, store))
    assets += [_rows(rows) for rows in (*train_sets(config.data), *held_out_sets(config.data)) if _is_local(rows)]
    assets += _others(store, {asset["digest"] for asset in assets})
    key = staged_key(config)
    value = {
        "format": FORMAT,
        "key": key,
        "made": now(),
        "of": asset_identity(config),
        "assets": assets,
        "index": sorted(store.used),
    }
    place = record_file(store.root, key)
    place.parent.mkdir(mode=0o700, exist_ok=True)
    write_json(place, value)
    return value


def _model(config: RunConfig, model: ModelAsset, store: Store) -> dict[str, Any]:
    licence: dict[str, Any] = {"name": config.model.licence, "gated": False, "accepted_by": None}
    if model.source == "hub":
        noted = store.record("models", pin(config.model)).get("notes", {})
        cached = Licence(config.model.licence, config.model.gated, "whoever filled the hub library's cache")
        licence = noted.get("licence") or vars(cached)
    about = {"kind": "models", "source": model.source, "id": model.id, "revision": model.revision}
    return about | _placed(Entry(model.digest, Path(model.path)), store) | {"licence": licence}


def _tokenizer(config: RunConfig, folder: str, store: Store) -> dict[str, Any]:
    about: dict[str, Any] = {"kind": "tokenizers", "id": config.model.tokenizer}
    found = store.find("tokenizers", tokenizer_pin(str(config.model.tokenizer)))
    if found is not None and found.path == Path(folder):
        noted = store.record("tokenizers", tokenizer_pin(str(config.model.tokenizer))).get("notes", {})
        about |= {"source": "hub", "revision": noted.get("commit"), "licence": noted.get("licence")}
        return about | _placed(found, store)
    files = read_files(Path(folder), files_under(Path(folder)))
    about |= {"source": "folder", "revision": None, "path": folder}
    return about | {"digest": digest_of_files(files), "files": files}


def _data(config: RunConfig, data: DataAsset, store: Store) -> dict[str, Any]:
    sets = (*train_sets(config.data), *held_out_sets(config.data))
    names = ", ".join(str(rows.path) for rows in sets) or config.data.source
    about = {"kind": "data", "source": config.data.source, "id": names, "revision": data.revisions or None}
    return about | _placed(Entry(data.digest, Path(data.path)), store)


def _rows(rows: RowsConfig) -> dict[str, Any]:
    """Files of rows on this machine, which another one needs as well: the run's identity holds their digest."""
    paths = [Path(name) for name in row_files(rows.path or "", rows.files, rows.split)]
    folder = Path(os.path.commonpath([path.parent for path in paths]))
    files = read_files(folder, paths)
    about = {"kind": "rows", "source": "file", "id": rows.path, "revision": None, "path": str(folder)}
    return about | {"digest": digest_of_files(files), "files": files}


def _others(store: Store, known: set[str]) -> list[dict[str, Any]]:
    """What was found on the way besides: rows behind an address, the published folder of a model that begins with
    random weights."""
    found = {}
    names = ("id", "address", "requirement")
    for name in sorted(store.used):
        noted = read_json(store.root / "index" / name)
        if noted["digest"] not in known:
            kind = name.rpartition("-")[0]
            path = Path(noted.get("path") or store.root / kind / noted["digest"])
            made_from = noted["from"]
            about = {"kind": kind, "source": made_from.get("source"), "revision": made_from.get("commit")}
            about |= {"id": next((made_from[name] for name in names if name in made_from), str(path))}
            found[noted["digest"]] = about | _placed(Entry(noted["digest"], path), store)
    return list(found.values())


def _is_local(rows: RowsConfig) -> bool:
    return source_of(rows) == "file"


def _placed(entry: Entry, store: Store) -> dict[str, Any]:
    """Where an entry lies, from the store on where it is in there, and what is in it."""
    inside = entry.path.is_relative_to(store.root)
    path = entry.path.relative_to(store.root).as_posix() if inside else str(entry.path)
    return {"digest": entry.digest, "path": path, "files": store.listing(entry)}
