"""The store: folders named by the digest of what lies in them, made once and shared by runs, users' jobs and nodes.

Layout under store.root: `<kind>/<digest>/` (complete or absent), `<kind>/.partial-*` (being made),
`index/<key>.json` (from a description to a digest) and `locks/<key>` (who makes it).
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

    def find(self, kind: str, description: Description) -> Entry | None:
        """What was made from this description before, None where it was not or is gone."""
        found = read_json(self._index(kind, description))
        if not found:
            return None
        path = Path(found["path"]) if "path" in found else self.root / kind / found["digest"]
        return Entry(found["digest"], path) if path.is_dir() else None

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
                digest = digest_of(partial, files_under(partial), sync=True)
                entry = Entry(digest, home / digest)
                if not entry.path.is_dir():
                    _rename(partial, entry.path)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
            self._remember(kind, description, {"digest": digest})
        return entry

    def adopt(self, kind: str, description: Description, path: Path, files: Iterable[Path]) -> Entry:
        """A folder that stays where it is: its files' digest, computed once for a description."""
        found = self.find(kind, description)
        if found is not None:
            return found
        entry = Entry(digest_of(path, files), path)
        self._remember(kind, description, {"digest": entry.digest, "path": str(path)})
        return entry

    def also(self, kind: str, description: Description, entry: Entry) -> None:
        """Let an entry of the store be found by another description too, from now on."""
        self._remember(kind, description, {"digest": entry.digest})

    def _remember(self, kind: str, description: Description, found: dict[str, str]) -> None:
        index = self._index(kind, description)
        self._folder("index")
        write_json(index, found | {"made": now(), "from": dict(description)})

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


def digest_of(folder: Path, files: Iterable[Path], sync: bool = False) -> str:
    """sha256 over the relative names and contents of files, independent of their order; `sync` flushes them to disk."""
    whole = hashlib.sha256()
    for path in sorted(files):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
            if sync:
                os.fsync(file.fileno())
        name = path.relative_to(folder).as_posix()
        whole.update(f"{len(name)}:{name}:{digest.hexdigest()}\n".encode())
    return whole.hexdigest()


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
