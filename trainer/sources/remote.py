"""Files behind an address (s3, gs, az, http): brought into the store once, found there from then on.

Through fsspec, whose packages for s3, gs and az are extras; http and https need none, and take one file each.
"""

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from conf.schema.addresses import PACKAGES, kind_of
from conf.staged import unsafe
from trainer.sources.download import RemoteFile, download, require_space
from trainer.sources.errors import SourceUnavailable
from trainer.sources.meter import Meter
from trainer.store import Entry, Store

log = logging.getLogger(__name__)
SECONDS = 30.0
"""Seconds for the one question what lies behind an http address."""
CHUNK = 2**22
"""Bytes that are read at a time."""


@dataclass(frozen=True)
class Found:
    """A file behind an address."""

    name: str
    """Below the address's folder."""
    place: str
    """As the file system calls it."""
    size: int
    version: str
    """What changes when the file does: its etag, checksum or time of change."""


def bring(kind: str, address: str, store: Store, offline: bool, wanted: Callable[[list[str]], list[str]]) -> Entry:
    """What lies behind an address as an entry of the store; `wanted` chooses among the names there.

    Offline, what was brought last. Raises SourceUnavailable, NoSpace.
    """
    pinned = {"source": "remote", "address": address}
    if offline:
        entry = store.find(kind, pinned)
        if entry is None:
            raise SourceUnavailable(f"{address} is not in the store, and was not asked (offline=true)")
        return entry
    http = kind_of(address) in ("http", "https")
    found = [_http(address)] if http else _listed(address)
    names = set(wanted([one.name for one in found]))
    files = [one for one in found if one.name in names]
    for one in files:
        if unsafe(one.name):
            raise SourceUnavailable(f"{address} holds a file whose name {one.name!r} {unsafe(one.name)}")
    description = pinned | {"files": [[one.name, one.size, one.version] for one in files]}

    def build(folder: Path) -> None:
        log.info("bringing %s: %d files, %.2f GB", address, len(files), sum(one.size for one in files) / 1e9)
        coming = store.downloads(kind, description)
        if http:
            (one,) = files
            download(address.rpartition("/")[0], [RemoteFile(one.name, one.size, None, None)], coming, False)
        else:
            _copy(address, files, coming)
        for one in files:
            (folder / one.name).parent.mkdir(parents=True, exist_ok=True)
            os.rename(coming / one.name, folder / one.name)
        shutil.rmtree(coming, ignore_errors=True)

    entry = store.make(kind, description, build)
    store.also(kind, pinned, entry)
    return entry


def _http(address: str) -> Found:
    """One file, by a HEAD request."""
    from huggingface_hub.utils import http_backoff  # type: ignore[attr-defined]

    try:
        answer = http_backoff("HEAD", address, timeout=SECONDS, max_retries=2, follow_redirects=True)
        answer.raise_for_status()
    except Exception as error:  # the client's own, whatever it is made of: all mean that nothing is there
        raise SourceUnavailable(f"{address} cannot be had ({_first(error)})") from error
    length = answer.headers.get("content-length")
    if length is None:
        raise SourceUnavailable(f"{address} does not say how long it is, so that a part could be taken for the whole")
    version = answer.headers.get("etag") or answer.headers.get("last-modified") or ""
    return Found(unquote(PurePosixPath(urlsplit(address).path).name), address, int(length), version)


def _listed(address: str) -> list[Found]:
    """A file, the files of a folder at any depth, or those that a pattern means."""
    files = _system(address)
    try:
        path = files._strip_protocol(address)
        if any(mark in path for mark in "*?["):
            places = files.glob(path, detail=True)
            base = path.partition("*")[0].rpartition("/")[0]
        elif files.isdir(path):
            places, base = files.find(path, detail=True), path
        else:
            places, base = {path: files.info(path)}, path.rpartition("/")[0]
        about = {name: info for name, info in places.items() if info.get("type") == "file"}
    except Exception as error:  # each service has its own
        raise SourceUnavailable(f"{address} cannot be read ({_first(error)})") from error
    return [_found(name, name.removeprefix(base).lstrip("/"), info) for name, info in sorted(about.items())]


def _found(place: str, name: str, info: dict[str, Any]) -> Found:
    keys = ("ETag", "etag", "md5Hash", "content_md5", "LastModified", "last_modified", "mtime")
    version = next((str(info[key]) for key in keys if info.get(key)), "")
    return Found(name, place, int(info["size"]), version)


def _copy(address: str, files: list[Found], folder: Path) -> None:
    """Each file, going on from the bytes that are there."""
    system = _system(address)
    have = sum(_size(folder / f"{one.name}.part") for one in files)
    require_space(folder, sum(one.size for one in files) - have)
    with Meter(sum(one.size for one in files), have) as meter:
        for one in files:
            part = folder / f"{one.name}.part"
            part.parent.mkdir(parents=True, exist_ok=True)
            if not (folder / one.name).exists():
                with system.open(one.place, "rb") as source, part.open("ab") as target:
                    source.seek(target.tell())
                    while chunk := source.read(CHUNK):
                        target.write(chunk)
                        meter.add(len(chunk))
                if part.stat().st_size != one.size:
                    part.unlink()
                    raise SourceUnavailable(f"{one.place} changed while it was read: try again")
                os.replace(part, folder / one.name)


def _system(address: str) -> Any:
    """The file system of an address. Raises SourceUnavailable where its package is missing."""
    import fsspec  # type: ignore[import-untyped]

    kind = kind_of(address)
    try:
        return fsspec.filesystem(kind)
    except (ImportError, ValueError) as error:
        package = PACKAGES.get(kind)
        raise SourceUnavailable(
            f"{kind}:// needs the package {package}, which is not installed: `pip install {package}`"
            if package
            else f"{kind}:// cannot be read: {_first(error)}"
        ) from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _first(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
