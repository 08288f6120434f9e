"""Node-local scratch: what a run reads, copied once a node from the store to the node's own disk, and kept for others.

Layout below site.scratch: `slurmwright-<uid>/<digest>/` (complete or absent), `.partial-*` (being copied) and
`locks/<digest>`: shared by who reads the copy, exclusive for who makes or removes it, its time that of the last use. A
copy is never trusted: before each use every file's size and sha256 are held against the store's listing.
"""

import enum
import fcntl
import getpass
import hashlib
import json
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conf.folder import RunFolder
from conf.schema.run import RunConfig
from trainer.job import Job
from trainer.store import Entry, Store

VARIABLE = "SLURMWRIGHT_ASSETS"
"""Tells workers where copies lie, as JSON: {"model": folder, "data": folder}; what it leaves out is in the store."""
KEPT = 14 * 86400.0
"""Seconds without use after which a copy is removed."""
THREADS = 8
CHUNK = 2**22
"""Bytes read at once."""
HEADROOM = 1.02
"""Free bytes wanted for each byte to be copied."""
Files = Sequence[Mapping[str, Any]]
"""Name, size in bytes and sha256 of each file, as the store lists them."""

log = logging.getLogger(__name__)


class NoScratch(Exception):
    """Something cannot be had from the scratch disk; the store has it."""


class Copy(enum.Enum):
    """What was found in a copy's place."""

    WHOLE = enum.auto()
    DAMAGED = enum.auto()
    MISSING = enum.auto()


@dataclass(frozen=True)
class Brought:
    """What lies on this node's disk now."""

    paths: dict[str, str]
    """Folder by asset, `model` and `data`; what is missing is read from the store."""
    copied: int
    """Bytes that had to be copied."""
    seconds: float
    why: str | None
    """Why something is read from the store after all; None where nothing is."""

    @property
    def words(self) -> str:
        """In a line."""
        done = f"{', '.join(self.paths) or 'nothing'} on scratch after {self.seconds:.1f} s"
        rest = f"; the rest is read from the store: {self.why}" if self.why else ""
        return f"{done}, {self.copied / 1e9:.3f} GB of it copied now{rest}"


class Scratch:
    """The copies on one node's disk. Safe for several jobs of one user at once."""

    def __init__(self, root: Path, pause: Callable[[], None]) -> None:
        """`pause` sleeps a little, and may raise to end a wait. Raises NoScratch or OSError where no copies can be."""
        self.root = root / f"slurmwright-{os.getuid()}"
        self.copied = 0
        self._pause = pause
        self._held: list[int] = []
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self.root.lstat()
        if found.st_uid != os.getuid() or self.root.is_symlink() or found.st_mode & 0o022:
            raise NoScratch(f"{self.root} is another user's, or others can write there")
        (self.root / "locks").mkdir(mode=0o700, exist_ok=True)

    def hold(self, entry: Entry, files: Files) -> Path:
        """The copy of an entry of the store, verified, and held against removal until `release`.

        Two jobs at once copy once: the second waits, and finds. Raises NoScratch where there is no room, or where the
        copy is damaged and in use; OSError; what `pause` raises."""
        target = self.root / entry.digest
        handle = os.open(self.root / "locks" / entry.digest, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            while (found := self._shared(handle, target, files)) is not Copy.WHOLE:
                if _lock(handle, fcntl.LOCK_EX):
                    # Another job may have made it since it was looked for.
                    if not self._all_whole(target, files):
                        self._make(entry, target, files)
                    fcntl.flock(handle, fcntl.LOCK_UN)
                elif found is Copy.DAMAGED:
                    raise NoScratch(f"the copy in {target} is damaged, and another job reads it")
                else:
                    self._pause()
            os.utime(handle)
        except BaseException:
            os.close(handle)
            raise
        self._held.append(handle)
        return target

    def release(self) -> None:
        """Let copies be removed."""
        while self._held:
            os.close(self._held.pop())

    def _shared(self, handle: int, target: Path, files: Files) -> Copy:
        """What there is, looked at under the readers' lock, which is kept where the copy is whole, else given back."""
        if not _lock(handle, fcntl.LOCK_SH):
            return Copy.MISSING  # or being made
        if self._all_whole(target, files):
            return Copy.WHOLE
        found = Copy.DAMAGED if target.is_dir() else Copy.MISSING
        fcntl.flock(handle, fcntl.LOCK_UN)
        return found

    def _all_whole(self, target: Path, files: Files) -> bool:
        return target.is_dir() and self._all(lambda file: _is_whole(target / file["name"], file), files)

    def _make(self, entry: Entry, target: Path, files: Files) -> None:
        """Copy what is missing or damaged, beside its place, and rename it. Called with the exclusive lock."""
        for leftover in self.root.glob(f".partial-{entry.digest}-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        if target.is_dir():
            log.warning("the copy in %s is not as the store lists it, and is made anew", target)
            shutil.rmtree(target)
        size = sum(file["size"] for file in files)
        self._make_room(int(size * HEADROOM))
        partial = Path(tempfile.mkdtemp(dir=self.root, prefix=f".partial-{entry.digest}-"))
        stop = threading.Event()

        def bring(file: Mapping[str, Any]) -> bool:
            return _copy(entry.path / file["name"], partial / file["name"], file["sha256"], stop)

        try:
            if not self._all(bring, files, stop):
                raise NoScratch(f"{entry.path} is not as the store lists it")
            os.rename(partial, target)
            self.copied += size
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _all(
        self, good: Callable[[Mapping[str, Any]], bool], files: Files, stop: threading.Event | None = None
    ) -> bool:
        """Whether something holds for all files, looked at by several threads while this one pauses."""
        with ThreadPoolExecutor(THREADS) as pool:
            tasks = [pool.submit(good, file) for file in sorted(files, key=lambda file: -file["size"])]
            try:
                while not all(task.done() for task in tasks):
                    self._pause()
            except BaseException:
                if stop is not None:
                    stop.set()
                pool.shutdown(cancel_futures=True)
                raise
            return all(task.result() for task in tasks)

    def _make_room(self, size: int) -> None:
        """Remove copies that nobody reads: all unused for long, and the longest unused until `size` bytes are free."""
        locks = sorted((self.root / "locks").iterdir(), key=lambda lock: lock.stat().st_mtime)
        for lock in locks:
            old = time.time() - lock.stat().st_mtime > KEPT
            if (old or shutil.disk_usage(self.root).free < size) and (self.root / lock.name).is_dir():
                self._remove(lock)
        free = shutil.disk_usage(self.root).free
        if free < size:
            raise NoScratch(f"{self.root} has {free / 1e9:.1f} GB free, and {size / 1e9:.1f} GB are needed")

    def _remove(self, lock: Path) -> None:
        handle = os.open(lock, os.O_RDWR)
        try:
            if _lock(handle, fcntl.LOCK_EX):
                # Renamed first: a removal that is cut short leaves no part of a copy under its name.
                gone = self.root / f".partial-{lock.name}-gone"
                shutil.rmtree(gone, ignore_errors=True)
                os.rename(self.root / lock.name, gone)
                shutil.rmtree(gone, ignore_errors=True)
                log.info("removed the copy %s from %s: long unused, or in the way", lock.name[:12], self.root)
        finally:
            os.close(handle)


def bring(config: RunConfig, folder: RunFolder, job: Job, pause: Callable[[], None]) -> tuple[Brought, Scratch | None]:
    """Copy a run's model and data to this node's disk. What cannot be copied stays in the store, and `why` says so.

    The copies are held for as long as the Scratch lives. Raises what `pause` raises."""
    begun = time.monotonic()
    assert config.site.scratch is not None
    place = config.site.scratch.format(user=getpass.getuser(), job=job.job_id or "local")
    paths: dict[str, str] = {}
    scratch, why = None, None
    try:
        scratch = Scratch(Path(place), pause)
        store = Store(str(config.store.root))
        for name, asset in folder.manifest()["assets"].items():
            entry = Entry(asset["digest"], Path(asset["path"]))
            paths[name] = str(scratch.hold(entry, store.listing(entry)))
    except (NoScratch, OSError) as error:
        why = str(error)
    copied = scratch.copied if scratch is not None else 0
    return Brought(paths, copied, round(time.monotonic() - begun, 3), why), scratch


def copies(environ: Mapping[str, str]) -> dict[str, str]:
    """In a worker: folder by asset, of what lies on this node's disk."""
    found: dict[str, str] = json.loads(environ.get(VARIABLE, "{}"))
    return found


def _lock(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_whole(path: Path, file: Mapping[str, Any]) -> bool:
    try:
        with path.open("rb") as opened:
            if os.fstat(opened.fileno()).st_size != file["size"]:
                return False
            return bool(hashlib.file_digest(opened, "sha256").hexdigest() == file["sha256"])
    except OSError:
        return False


def _copy(source: Path, target: Path, sha256: str, stop: threading.Event) -> bool:
    """Copy one file; gives whether what was read has the digest. Raises OSError, as for a full disk."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("wb") as writer:
        while not stop.is_set() and (chunk := reader.read(CHUNK)):
            digest.update(chunk)
            writer.write(chunk)
    return digest.hexdigest() == sha256
