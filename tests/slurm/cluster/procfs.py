"""What /proc says about processes, and ending them for certain. Process ids are those of the main pid namespace."""

import os
import select
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from .commands import ClusterError

PROC = Path("/proc")
# What reading about a process raises when it has just ended, or (in a container) is none of our business.
GONE = (FileNotFoundError, ProcessLookupError, PermissionError)


def pids() -> Iterator[int]:
    """All processes of the machine, those inside namespaces too."""
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal())


def arguments(pid: int) -> list[str]:
    """Command line of a process; empty when it is gone or a zombie."""
    return _strings(pid, "cmdline")


def environment(pid: int) -> list[str]:
    """Environment of a process as NAME=value; empty when it is gone or a zombie."""
    return _strings(pid, "environ")


def name(pid: int) -> str:
    """Short name of a process; empty when it is gone."""
    try:
        return (PROC / str(pid) / "comm").read_text().strip()
    except GONE:
        return ""


def namespace(pid: int, kind: str = "pid") -> str:
    """Identity of a namespace of a process, such as `pid:[4026532445]`; empty when it is gone or a zombie."""
    try:
        return str((PROC / str(pid) / "ns" / kind).readlink())
    except GONE:
        return ""


def is_init(pid: int) -> bool:
    """Whether a process is the first one of a pid namespace of its own."""
    try:
        lines = (PROC / str(pid) / "status").read_text().splitlines()
    except GONE:
        return False
    numbers = next(line.split()[1:] for line in lines if line.startswith("NSpid:"))
    return len(numbers) > 1 and numbers[-1] == "1"


def end(victims: Iterable[int], timeout: float = 15) -> None:
    """Kill processes and return when all are dead; ClusterError names those that do not die in `timeout` seconds."""
    handles: dict[int, int] = {}
    try:
        for pid in victims:
            try:
                handles[pid] = os.pidfd_open(pid)
                signal.pidfd_send_signal(handles[pid], signal.SIGKILL)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + timeout
        for pid, handle in handles.items():
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise ClusterError(f"process {pid} ({name(pid)}) is not dead {timeout:g} s after SIGKILL")
    finally:
        for handle in handles.values():
            os.close(handle)


def _strings(pid: int, file: str) -> list[str]:
    try:
        text = (PROC / str(pid) / file).read_text(errors="replace")
    except GONE:
        return []
    return text.removesuffix("\0").split("\0") if text else []
