"""Checkpoints on disk: complete or invisible, verified before use, the newest kept."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from trainer import resume

DIGESTS = "digests.json"
"""File in every committed checkpoint: path inside the folder -> sha256 in hex."""
WAIT = timedelta(minutes=30)
"""Longest time for which workers wait for each other: rank 0 may need it to digest a large checkpoint."""
_NAME = re.compile(r"step-(\d{8,})")


def name_of(step: int) -> str:
    """`step-00000120` for step 120."""
    return f"step-{step:08d}"


def step_of(path: Path) -> int:
    """The step of a committed checkpoint's folder. Raises ValueError for any other name."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise ValueError(f"{path.name} is not the name of a checkpoint, as {name_of(120)}")
    return int(match[1])


def partial_folder(checkpoints: Path, step: int) -> Path:
    """Where the checkpoint of a step is written before it is complete. Readers never look there."""
    return checkpoints / f".partial-{name_of(step)}"


def committed(checkpoints: Path) -> list[Path]:
    """Folders of the committed checkpoints, oldest first; [] where there are none."""
    if not checkpoints.is_dir():
        return []
    return sorted((path for path in checkpoints.iterdir() if _NAME.fullmatch(path.name)), key=step_of)


def why_unfit(path: Path, strategy: str) -> str | None:
    """Why a run of this strategy cannot go on from a checkpoint, in words with what to type; None when it can.

    Each strategy has a format of its own, which holds for any number of workers. Raises WorkerError where resume.json
    cannot be read, or is of a newer version."""
    old = resume.read(path).strategy
    if old != strategy:
        return f"{path} was written with parallel={old} and cannot go on with parallel={strategy}: use parallel={old}"
    return None


def commit(written: Path, checkpoints: Path, step: int) -> Path:
    """Make a fully written folder the checkpoint of `step`: digests, fsync of all, one rename. Returns its path.

    One process calls this, once all have written. A checkpoint of the same step that is there already gives way.
    Raises OSError when the disk is full."""
    digests = {}
    for file in _files(written):
        digests[file.relative_to(written).as_posix()] = _digest(file, sync=True)
    (written / DIGESTS).write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")
    _sync(written / DIGESTS)
    for folder, _, _ in os.walk(written, topdown=False):
        _sync(Path(folder))
    final = checkpoints / name_of(step)
    if final.exists():
        set_aside(final)
    os.rename(written, final)
    _sync(checkpoints)
    return final


def why_damaged(path: Path) -> str | None:
    """What is wrong with a committed checkpoint, in words; None when every file is as it was written."""
    try:
        expected = sorted(json.loads((path / DIGESTS).read_text(encoding="utf-8")).items())
    except (OSError, ValueError, AttributeError) as error:
        return f"{DIGESTS} cannot be read: {error}"
    for name, digest in expected:
        try:
            found = _digest(path / name)
        except OSError as error:
            return f"{name} cannot be read: {error.strerror or error}"
        if found != digest:
            return f"{name} has changed since it was written"
    return None


def newest(
    checkpoints: Path,
    skipped: Callable[[Path, str], None],
    why_unsafe: Callable[[Path], str | None] = lambda path: None,
) -> Path | None:
    """The newest checkpoint that verifies, or None. Each damaged one, and each that is unsafe to load, is set aside and
    told to `skipped`, with why."""
    for path in reversed(committed(checkpoints)):
        why = why_damaged(path) or why_unsafe(path)
        if why is None:
            return path
        skipped(set_aside(path), why)
    return None


def set_aside(path: Path) -> Path:
    """Rename a checkpoint so that nobody resumes from it; a person may still look. Returns its new path."""
    for number in range(1000):
        aside = path.with_name(f".damaged-{path.name}" + (f".{number}" if number else ""))
        if not aside.exists():
            os.rename(path, aside)
            return aside
    raise FileExistsError(f"a thousand damaged copies of {path}")


def remove(path: Path) -> None:
    """Remove a committed checkpoint. It is renamed first, so that it is never half there."""
    doomed = path.with_name(f".removed-{path.name}")
    os.rename(path, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def clear_leftovers(checkpoints: Path) -> None:
    """Remove what an interrupted attempt has half written or half deleted. Call before this attempt writes any."""
    if not checkpoints.is_dir():
        return
    for path in checkpoints.iterdir():
        if path.name.startswith((".partial-", ".removed-")):
            shutil.rmtree(path, ignore_errors=True)


def replace_folder(written: Path, final: Path) -> None:
    """Put a fully written folder in the place of `final`; but for an instant, readers see the old one or the new."""
    for file in _files(written):
        _sync(file)
    for folder, _, _ in os.walk(written, topdown=False):
        _sync(Path(folder))
    old = final.with_name(f".old-{final.name}")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        os.rename(final, old)
    os.rename(written, final)
    _sync(final.parent)
    shutil.rmtree(old, ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _digest(file: Path, sync: bool = False) -> str:
    with file.open("rb") as stream:
        if sync:
            os.fsync(stream.fileno())
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
