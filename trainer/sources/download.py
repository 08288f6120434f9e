"""Files of a repository onto this disk: several at once, going on from the bytes that are there, each proved.

The hub library downloads each file under a name of its own process, so that a killed download begins anew, and refuses
files of more than 50 GB without its native client. Here a file grows under one name (`NAME.part`) and is renamed when
its digest is that of the repository. Where the store's locks do nothing, two that append to one file are found out by
the digest.
"""

import hashlib
import logging
import os
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from conf.staged import unsafe
from trainer.errors import PreparationError
from trainer.sources.errors import SourceUnavailable
from trainer.sources.meter import Meter

log = logging.getLogger(__name__)
AT_ONCE = 8
"""Files that are on their way at the same time."""
TRIES = 5
"""Tries of a file that bring no byte."""
PAUSE = 1.0
"""Seconds before another try, times the number of tries so far."""
SILENCE = 30.0
"""Seconds without a byte after which a connection counts as dead."""
CHUNK = 2**20
"""Bytes written at a time."""
SPARE = 2**28
"""Bytes that stay free on the disk."""


class NoSpace(PreparationError):
    """The disk has less room than what is to come."""

    exit_code = 5


_CLIENTS = ("httpx", "httpx2", "httpcore", "httpcore2", "ssl")
"""Packages whose errors mean that a connection broke."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository at one commit."""

    name: str
    size: int
    """Bytes."""
    sha256: str | None
    """Of its contents, in hex; None for small files."""
    blob: str | None
    """Git's id of a small file's contents: sha1 over a header and them, in hex."""


def download(address: str, files: Sequence[RemoteFile], folder: Path, token: str | bool) -> None:
    """Bring files from below an address (`.../resolve/COMMIT`) into a folder, where what came before stays.

    Raises NoSpace before the first byte, SourceUnavailable where a file cannot be had or its digest is wrong, the hub
    library's own errors where it refuses.
    """
    for file in files:
        reason = unsafe(file.name)
        if reason is not None:
            raise SourceUnavailable(f"the repository holds a file whose name {file.name!r} {reason}")
    missing = [file for file in files if not _there(folder / file.name, file)]
    there = sum(file.size for file in files) - sum(file.size for file in missing)
    begun = sum(_size(_part(folder, file)) for file in missing)
    require_space(folder, sum(file.size for file in missing) - begun)
    with Meter(sum(file.size for file in files), there + begun) as meter, ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = [pool.submit(_bring, f"{address}/{file.name}", file, folder, token, meter) for file in missing]
        try:
            for one in waiting:
                one.result()
        except BaseException:
            meter.stop = True
            pool.shutdown(cancel_futures=True)
            raise


def require_space(folder: Path, needed: int) -> None:
    """Raise NoSpace, with the numbers, where a folder's disk has not so many bytes."""
    free = shutil.disk_usage(folder).free
    if needed + SPARE > free:
        raise NoSpace(
            f"{folder}: {needed / 1e9:.2f} GB are to come, and {free / 1e9:.2f} GB are free: make room, or choose "
            "another store with store.root=DIR"
        )


def _bring(address: str, file: RemoteFile, folder: Path, token: str | bool, meter: Meter) -> None:
    """One file, with as many tries as bring bytes and TRIES that bring none."""
    part = _part(folder, file)
    part.parent.mkdir(parents=True, exist_ok=True)
    if _size(part) > file.size:
        part.unlink()
    tries = 0
    while _size(part) < file.size or not part.exists():
        before = _size(part)
        try:
            _append(address, part, token, meter)
        except Exception as error:
            if not _is_network(error):
                raise
            _pause(file, error, tries)
        tries = tries + 1 if _size(part) <= before else 0
        if tries > TRIES:
            raise SourceUnavailable(f"the download of {file.name} broke off {TRIES} times at byte {before}")
    wrong = _wrong(part, file)
    if wrong:
        part.unlink()
        raise SourceUnavailable(f"{file.name} came with another digest than the repository names ({wrong}): removed")
    os.replace(part, folder / file.name)


def _append(address: str, part: Path, token: str | bool, meter: Meter) -> None:
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        build_hf_headers,
        hf_raise_for_status,
        http_stream_backoff,
    )

    have = _size(part)
    headers = build_hf_headers(token=token) | {"accept-encoding": "identity"}
    if have:
        headers["range"] = f"bytes={have}-"
    with (
        http_stream_backoff("GET", address, headers=headers, timeout=SILENCE, retry_on_exceptions=()) as response,
        part.open("ab") as file,
    ):
        hf_raise_for_status(response)
        if have and response.status_code != 206:
            file.truncate(0)  # a server without ranges sends all of it again
            meter.add(-have)
        for chunk in response.iter_bytes():
            if meter.stop:
                raise SourceUnavailable("another file could not be had")
            file.write(chunk)
            file.flush()
            meter.add(len(chunk))


def _pause(file: RemoteFile, error: Exception, tries: int) -> None:
    log.info("%s: the connection broke (%s), going on from where it was", file.name, type(error).__name__)
    time.sleep(PAUSE * tries)


def _is_network(error: Exception) -> bool:
    """Whether another try may help: the connection broke, as opposed to a refusal or a full disk."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, (HfHubHTTPError, SourceUnavailable, PreparationError)):
        return False
    return type(error).__module__.partition(".")[0] in (
        "httpx",
        "httpx2",
        "httpcore",
        "httpcore2",
        "ssl",
    ) or isinstance(error, (ConnectionError, TimeoutError))


def _there(path: Path, file: RemoteFile) -> bool:
    return path.is_file() and path.stat().st_size == file.size and not _wrong(path, file)


def _wrong(path: Path, file: RemoteFile) -> str:
    """How a complete file differs from the repository's, "" where it does not."""
    digest = hashlib.sha1(b"blob %d\0" % file.size) if file.sha256 is None else hashlib.sha256()
    expected = file.sha256 or file.blob
    with path.open("rb") as opened:
        while chunk := opened.read(CHUNK):
            digest.update(chunk)
    return "" if expected in (None, digest.hexdigest()) else f"{digest.hexdigest()}, not {expected}"


def _part(folder: Path, file: RemoteFile) -> Path:
    return folder / f"{file.name}.part"


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
