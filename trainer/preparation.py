"""Preparation on the head node before the workers start, where the launcher has not done it: a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from conf.folder import RunFolder
from trainer.ends import NO_SPACE, Ended, describe, tail
from trainer.lifeline import AGENT_VARIABLE
from trainer.offline import python_path


def needed(folder: RunFolder) -> bool:
    """Whether the run has no prepared assets, or their store was emptied since."""
    assets = folder.manifest().get("assets") or {}
    return not assets or not all(Path(asset["path"]).exists() for asset in assets.values())


def carry_out(folder: RunFolder, log: Path, pause: Callable[[], None], offline: bool = False) -> None:
    """Run `python -m trainer prepare RUN` and wait for it. Its output goes where this process's goes, `log`.

    `pause` sleeps a little and may raise to end the wait, which ends the preparation. Raises Ended when it fails."""
    variables = os.environ | {
        AGENT_VARIABLE: str(os.getpid()),
        "PYTHONPATH": python_path(folder, offline),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-m", "trainer", "prepare", str(folder.path)]
    child = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        while child.poll() is None:
            pause()
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    if child.returncode != 0:
        words = tail(log)
        full = any(phrase in words for phrase in NO_SPACE)
        raise Ended("disk_full" if full else "launch_failed", f"preparation {describe(child.returncode)}:\n{words}")
