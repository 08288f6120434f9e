"""The store: folders named by the digest of what lies in them, made once and shared by runs, users' jobs and nodes.

Layout under store.root: `<kind>/<digest>/` (complete or absent), `<kind>/.partial-*` (being made),
`index/<key>.json` (from a description to a digest), `listings/<digest>.json` (its files), `downloads/<key>/` (what has
come so far) and `locks/<key>` (who makes it).
"""

import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conf.folder import now, read_json, write_json
from conf.staged import digest_of_files, listing_file

log = logging.getLogger(__name__)
Description = Mapping[str, Any]
"""What something in the store is made from: a JSON object. The same description is made once."""
POLL_SECONDS = 0.5
REMIND_SECONDS = 60.0
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@dataclass(frozen=True)
class Entry:
    """A complete folder, and the sha256 of its files in hex."""

    digest: str
    path: Path


class Store:
    """A folder of prepared weights and data. Safe for several processes, also on several nodes of a shared system."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser().absolute()
        self.used: set[str] = set()
        """Names of the index files by which something was found or put so far."""

    def find(self, kind: str, description: Description) -> Entry | None:
        """What was made from this description before, None where it was not or is gone."""
        found = self.record(kind, description)
        if not found:
            return None
        path = Path(found["path"]) if "path" in found else self.root / kind / found["digest"]
        if not path.is_dir():
            return None
        self.used.add(self._index(kind, description).name)
        return Entry(found["digest"], path)

    def record(self, kind: str, description: Description) -> dict[str, Any]:
        """What is noted of a description, `notes` of `also` among it; {} where nothing is."""
        return read_json(self._index(kind, description))

    def listing(self, entry: Entry) -> list[dict[str, Any]]:
        """Name, size in bytes and sha256 of each file of an entry; read again where they were not kept."""
        files: list[dict[str, Any]] = read_json(listing_file(self.root, entry.digest)).get("files", [])
        if not files or digest_of_files(files) != entry.digest:
            files = read_files(entry.path, files_under(entry.path))
            self._list(digest_of_files(files), files)
        return files

    def downloads(self, kind: str, description: Description) -> Path:
        """A folder for what is on its way, the same at each try, so that a broken one goes on where it was."""
        path = self._folder("downloads") / _key(kind, description)
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def make(self, kind: str, description: Description, build: Callable[[Path], None]) -> Entry:
        """The folder for a description; `build` fills an empty folder where there is none yet.

        Two processes at once do the work once: the second waits, and finds. Where `build` raises, nothing stays.
        """
        found = self.find(kind, description)
        if found is not None:
            return found
        key = _key(kind, description)
        with self._locked(key) as alone:
            found = self.find(kind, description)
            if found is not None:
                return found
            home = self._folder(kind)
            if alone:
                for leftover in home.glob(f".partial-{key[:16]}-*"):
                    shutil.rmtree(leftover, ignore_errors=True)
            partial = Path(tempfile.mkdtemp(dir=home, prefix=f".partial-{key[:16]}-"))
            try:
                build(partial)
                files = read_files(partial, files_under(partial), sync=True)
                entry = Entry(digest_of_files(files), home / digest_of_files(files))
                self._list(entry.digest, files)
                if not entry.path.is_dir():
                    _rename(partial, entry.path)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
            self._remember(kind, description, {"digest": entry.digest})
        return entry

    def adopt(self, kind: str, description: Description, path: Path, files: Iterable[Path]) -> Entry:
        """A folder that stays where it is: its files' digest, computed once for a description."""
        found = self.find(kind, description)
        if found is not None:
            return found
        listed = read_files(path, files)
        entry = Entry(digest_of_files(listed), path)
        self._list(entry.digest, listed)
        self._remember(kind, description, {"digest": entry.digest, "path": str(path)})
        return entry

    def also(self, kind: str, description: Description, entry: Entry, notes: Description | None = None) -> None:
        """Let an entry of the store be found by another description too, from now on, with notes for `record`."""
        self._remember(kind, description, {"digest": entry.digest} | ({"notes": dict(notes)} if notes else {}))

    def _remember(self, kind: str, description: Description, found: dict[str, Any]) -> None:
        index = self._index(kind, description)
        self._folder("index")
        write_json(index, found | {"made": now(), "from": dict(description)})
        self.used.add(index.name)

    def _list(self, digest: str, files: list[dict[str, Any]]) -> None:
        self._folder("listings")
        write_json(listing_file(self.root, digest), {"digest": digest, "files": files})

    def _index(self, kind: str, description: Description) -> Path:
        return self.root / "index" / f"{_key(kind, description)}.json"

    def _folder(self, name: str) -> Path:
        path = self.root / name
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    @contextmanager
    def _locked(self, key: str) -> Iterator[bool]:
        """Hold the lock of a key; yields whether the file system has locks at all.

        The kernel, or the file server, drops the lock of a holder that dies. The file stays: removing it would let
        two processes hold "the" lock on two files. Without locks work may be done twice, and no harm comes of it.
        """
        handle = os.open(self._folder("locks") / key, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            alone = _wait_for(handle, key)
            if alone:
                owner = {"host": socket.gethostname(), "pid": os.getpid(), "since": now()}
                os.ftruncate(handle, 0)
                os.pwrite(handle, json.dumps(owner).encode(), 0)
            yield alone
        finally:
            os.close(handle)


def digest_of(folder: Path, files: Iterable[Path]) -> str:
    """sha256 over the relative names and contents of files, independent of their order."""
    return digest_of_files(read_files(folder, files))


def read_files(folder: Path, files: Iterable[Path], sync: bool = False) -> list[dict[str, Any]]:
    """Relative name, size in bytes and sha256 of files, sorted; `sync` flushes them to disk."""
    found = []
    for path in sorted(files):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = os.fstat(file.fileno()).st_size
            if sync:
                os.fsync(file.fileno())
        found.append({"name": path.relative_to(folder).as_posix(), "size": size, "sha256": digest})
    return found


def files_under(folder: Path) -> list[Path]:
    """Every regular file at any depth, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _key(kind: str, description: Description) -> str:
    text = json.dumps(description, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()}"


def _rename(partial: Path, target: Path) -> None:
    for path in partial.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    partial.chmod(0o700)
    try:
        os.rename(partial, target)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise  # somebody else put the same content there first


def _wait_for(handle: int, key: str) -> bool:
    """Take the lock, saying now and then whom we wait for. False where the file system has none."""
    told = -REMIND_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno in _NO_LOCKS:
                log.warning("the store's file system has no locks: work may be done twice")
                return False
            raise
        if time.monotonic() - told >= REMIND_SECONDS:
            told = time.monotonic()
            log.info("waiting for %s", _owner(handle) or key)
        time.sleep(POLL_SECONDS)


def _owner(handle: int) -> str:
    try:
        owner = json.loads(os.pread(handle, 4096, 0))
        return f"process {owner['pid']} on {owner['host']}, which has prepared the same since {owner['since']}"
    except (ValueError, KeyError, TypeError):
        return ""
