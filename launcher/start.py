"""What comes before any start of a run: its folder is made ready, and what a past end left behind is cleared."""

import os
from typing import Any

from conf.folder import RunFolder
from launcher.errors import InputError

FINISHED = ("completed", "pruned")
"""Ends after which there is nothing left to do."""


def clear(folder: RunFolder) -> None:
    """Make a run folder ready for another attempt: no result of a past one, no request to stop."""
    folder.attempts.mkdir(mode=0o700, exist_ok=True)
    if folder.result().get("status") in FINISHED:
        raise InputError(f"{folder.id} is finished: `python -m launcher status {folder.id}` shows its result")
    for leftover in (folder.result_file, folder.stop_file, folder.save_file):
        leftover.unlink(missing_ok=True)


def prepared(folder: RunFolder) -> bool:
    """Whether model and data are recorded, and still lie where the record says."""
    assets: dict[str, Any] = folder.manifest().get("assets", {})
    return all(os.path.exists(assets.get(name, {}).get("path") or "") for name in ("model", "data"))


def next_attempt(folder: RunFolder) -> int:
    """Number of the attempt that the next start will be: the first free one."""
    number = 1
    while folder.attempt_folder(number).exists():
        number += 1
    return number


def new_attempt(folder: RunFolder) -> int:
    """Begin an attempt: take the first free number by making its folder."""
    while True:
        number = next_attempt(folder)
        try:
            folder.attempt_folder(number).mkdir(mode=0o700)
            return number
        except FileExistsError:
            pass  # somebody else was faster
