"""What a run was made with, so that it can be made again: installed packages, and whether assets are as they were."""

import hashlib
import json
import platform
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from conf.folder import RunFolder, read_json
from conf.staged import digest_of_files, listing_file
from launcher import snapshot


@cache
def environment() -> dict[str, Any]:
    """The Python that runs the launcher and every package installed for it, and the sha256 of that in hex.

    Read from the names of the packages' metadata folders, in which a name and a version hold no dash: to read what is
    in some hundred of them takes longer than a submission may."""
    packages: dict[str, str] = {}
    for entry in sys.path:
        for found in Path(entry or ".").glob("*.dist-info") if entry.endswith("-packages") else ():
            name, _, version = found.name.removesuffix(".dist-info").partition("-")
            packages.setdefault(name.lower().replace("_", "-"), version)
    lock = {"python": platform.python_version(), "packages": dict(sorted(packages.items()))}
    text = json.dumps(lock, sort_keys=True, separators=(",", ":"))
    return lock | {"digest": hashlib.sha256(text.encode()).hexdigest()}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What is installed otherwise now than in an environment of a manifest, a line each."""
    there = {"python": before.get("python"), **before.get("packages", {})}
    here = {"python": now.get("python"), **now.get("packages", {})}
    return [
        f"{name}: {there.get(name) or 'not installed'} there, {here.get(name) or 'not installed'} here"
        for name in sorted(there.keys() | here.keys())
        if there.get(name) != here.get(name)
    ]


def code_problem(folder: RunFolder) -> str | None:
    """What is wrong with a run's frozen code; None where it is as it was submitted."""
    if not folder.code.is_dir():
        return f"its code is gone from {folder.code.resolve()}"
    digest, recorded = snapshot.digest(folder.code.resolve()), folder.manifest()["code_digest"]
    return (
        None if digest == recorded else f"its code in {folder.code} was changed: its digest is {digest}, not {recorded}"
    )


def asset_problems(folder: RunFolder, store: Path) -> Iterator[tuple[str, str, bool]]:
    """Name of each asset that is not as the manifest has it, what is wrong, and whether it is gone, not damaged."""
    for name, asset in folder.manifest()["assets"].items():
        place = Path(asset["path"])
        if not place.is_dir():
            yield name, f"{name} {asset['digest'][:12]} is gone from {place}", True
            continue
        listed: list[dict[str, Any]] = read_json(listing_file(store, asset["digest"])).get("files", [])
        names = [file["name"] for file in listed] or _names(place)
        missing = [name for name in names if not (place / name).is_file()]
        if missing:
            yield name, f"{place / missing[0]} is missing", False
        elif digest_of_files({"name": name, "sha256": _sha256(place / name)} for name in names) != asset["digest"]:
            yield name, f"{place} does not have the digest {asset['digest'][:12]} any more: it is damaged", False


def weights_of(folder: RunFolder) -> dict[str, str]:
    """sha256 of each file of weights that a finished run has trained, by its name below the run folder."""
    found = (path for place in (folder.adapter, folder.model) for path in place.glob("*.safetensors"))
    return {path.relative_to(folder.path).as_posix(): _sha256(path) for path in sorted(found)}


def _names(place: Path) -> list[str]:
    return [path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
