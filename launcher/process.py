"""Processes of this machine that belong to a run: whether they live, and their end."""

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from conf.folder import RunFolder


def alive(pid: int, host: str, folder: RunFolder) -> bool | None:
    """Whether a run's process lives; None where that cannot be seen from this machine. A pid in use by somebody else
    is no sign of life."""
    if host != socket.gethostname():
        return None
    return _is_ours(pid, folder)


def _is_ours(pid: int, folder: RunFolder) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX" and os.fsencode(folder.path) in command


def ask_to_leave(pid: int) -> None:
    """SIGTERM, to a process that may be gone."""
    _signal(pid, signal.SIGTERM)


def end(pid: int, folder: RunFolder, seconds: float, ask: Callable[[int], None] = ask_to_leave) -> bool:
    """Ask a run's process to leave, and kill it with all that it started where it has not after so many seconds.

    False where there was no such process."""
    if not _is_ours(pid, folder):
        return False
    ask(pid)
    deadline = time.monotonic() + seconds
    while _is_ours(pid, folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    if _is_ours(pid, folder):
        kill_all(pid)
    return True


def kill_all(pid: int) -> None:
    """Kill a process and everything that it started."""
    for each in [*descendants(pid), pid]:
        _signal(each, signal.SIGKILL)


def descendants(ancestor: int) -> list[int]:
    """Pids of the processes below one, nearest first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, queue = [], [ancestor]
    while queue:
        below = children.get(queue.pop(0), [])
        found += below
        queue += below
    return found


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
