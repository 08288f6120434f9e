"""What a bundle holds, looked at before it becomes part of a store: digests of folders, weights, code, and what names
them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conf.folder import read_json
from conf.staged import KINDS, PICKLED, digest_of_files, is_digest
from launcher import loadable
from launcher.bundle_index import BadBundle

CODE = (".py", ".pyc", ".so", ".dll", ".sh")
"""Ends of files that can be run."""


def check_contents(folder: Path, allow_code: bool) -> list[dict[str, Any]]:
    """The records of an unpacked bundle, once everything in it holds; `allow_code` lets pickles and code in.

    Raises BadBundle."""
    digests = {}
    for kind in KINDS:
        for entry in sorted((folder / kind).glob("*")):
            _check_entry(entry, kind, allow_code)
            digests[entry.name] = kind
    for listing in sorted((folder / "listings").glob("*.json")):
        value = _read(listing)
        if listing.stem not in digests or _files_digest(value) != listing.stem:
            raise BadBundle(f"the listing {listing.name} is not that of a folder in the bundle")
    for index in sorted((folder / "index").glob("*.json")):
        _check_index(index, digests)
    records = [_check_record(path, folder, digests) for path in sorted((folder / "staged").glob("*.json"))]
    if not records:
        raise BadBundle("the bundle holds no record of what was staged")
    return records


def _check_entry(entry: Path, kind: str, allow_code: bool) -> None:
    """A folder named by its digest: the digest is right, and its files are what they are called."""
    files = []
    for path in sorted(path for path in entry.rglob("*") if path.is_file()):
        name = path.relative_to(entry).as_posix()
        if path.name.endswith((*PICKLED, *CODE)) and not allow_code:
            raise BadBundle(
                f"{kind}/{entry.name}/{name} is pickled or code, which runs when it is loaded: if you trust who packed "
                "the bundle, add --allow-code"
            )
        wrong = loadable.problem(path) if kind in ("models", "tokenizers") else None
        if wrong is not None:
            raise BadBundle(f"{kind}/{entry.name}/{name} {wrong}")
        with path.open("rb") as file:
            files.append({"name": name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()})
    if digest_of_files(files) != entry.name:
        raise BadBundle(f"{kind}/{entry.name} has other contents than its name says: the bundle is damaged")


def _check_index(path: Path, digests: Mapping[str, str]) -> None:
    """An index file names a folder of the bundle, and is called by the digest of its own description. One that names a
    folder elsewhere would lead out of the store: it means nothing on another machine, and is left out."""
    value = _read(path)
    if "path" in value:
        path.unlink()
        return
    kind, made_from = path.stem.rpartition("-")[0], value.get("from")
    text = json.dumps(made_from, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    if path.stem != f"{kind}-{hashlib.sha256(text.encode()).hexdigest()}" or kind not in KINDS:
        raise BadBundle(f"index/{path.name} is not called by what it describes")
    if digests.get(str(value.get("digest"))) != kind:
        raise BadBundle(f"index/{path.name} names {value.get('digest')!r}, which is not in the bundle")


def _check_record(path: Path, folder: Path, digests: Mapping[str, str]) -> dict[str, Any]:
    record = _read(path)
    try:
        for asset in record["assets"]:
            if digests.get(asset["digest"]) != asset["kind"] or digest_of_files(asset["files"]) != asset["digest"]:
                raise BadBundle(f"staged/{path.name} names {asset['kind']} {asset['id']}, which is not in the bundle")
            asset["path"] = f"{asset['kind']}/{asset['digest']}"
        if record["key"] != path.stem or not is_digest(path.stem):
            raise BadBundle(f"staged/{path.name} is the record of something else")
        record["index"] = [name for name in record["index"] if (folder / "index" / name).is_file()]
    except (KeyError, TypeError, AttributeError) as error:
        raise BadBundle(f"staged/{path.name} is no record ({type(error).__name__}: {error})") from None
    path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return record


def _files_digest(value: Mapping[str, Any]) -> str | None:
    try:
        return digest_of_files(value["files"])
    except (KeyError, TypeError, AttributeError):
        return None


def _read(path: Path) -> dict[str, Any]:
    try:
        value = read_json(path)
    except (ValueError, RecursionError) as error:
        raise BadBundle(f"{path.parent.name}/{path.name} is no JSON ({error})") from None
    if not isinstance(value, dict):
        raise BadBundle(f"{path.parent.name}/{path.name} is no JSON object")
    return value
