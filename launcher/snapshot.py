"""The code of a run, copied as it is at submission, so that editing the checkout changes nothing for a queued job.

Copies are shared by content: `<run root>/.code/<digest>/` holds one, and a run's `code` is a link to it. A run then
costs one inode for its code and not a hundred.
"""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from conf.folder import ROOMS
from launcher import ROOT

STORE = ".code"
"""Name of the folder of snapshots in a run root."""


def take(run_root: Path, checkout: Path = ROOT) -> str:
    """Copy the rooms as they are now, unless that very content is there already; gives its digest."""
    contents = _contents(checkout)
    name = _digest(contents)
    store = run_root / STORE
    if not (store / name).is_dir():
        store.mkdir(mode=0o700, exist_ok=True)
        _write(store / name, contents)
    return name


def digest(checkout: Path) -> str:
    """The digest of the rooms in a folder, as `take` gives it."""
    return _digest(_contents(checkout))


def _contents(checkout: Path) -> dict[str, bytes]:
    return {relative: (checkout / relative).read_bytes() for relative in _files(checkout)}


def _digest(contents: dict[str, bytes]) -> str:
    total = hashlib.sha256()
    for relative, content in contents.items():
        total.update(f"{relative}\0{len(content)}\0".encode())
        total.update(content)
    return total.hexdigest()[:16]


def link(code: Path, digest: str) -> None:
    """Make a run's `code` point to a snapshot, in one step even where it pointed to another."""
    fresh = code.with_name(f".code-{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(Path("..") / STORE / digest)
    os.replace(fresh, code)


def _files(checkout: Path) -> list[str]:
    """The packages' own files, relative and sorted; no caches, nothing hidden."""
    found = []
    for room in ROOMS:
        for folder, folders, names in os.walk(checkout / room):
            folders[:] = [name for name in folders if name != "__pycache__" and not name.startswith(".")]
            for name in names:
                if not name.startswith(".") and not name.endswith((".pyc", "~")):
                    found.append(os.path.relpath(os.path.join(folder, name), checkout))
    return sorted(found)


def _write(place: Path, contents: dict[str, bytes]) -> None:
    """Write a snapshot beside its place and rename it; somebody else's of the same content is as good."""
    fresh = Path(tempfile.mkdtemp(dir=place.parent, prefix=".new-"))
    try:
        for relative, content in contents.items():
            file = fresh / relative
            for folder in reversed(file.relative_to(fresh).parents[:-1]):
                (fresh / folder).mkdir(mode=0o700, exist_ok=True)
            file.touch(mode=0o600)
            file.write_bytes(content)
        os.rename(fresh, place)
    except OSError:
        if not place.is_dir():
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
