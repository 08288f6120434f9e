"""No process outlives the one that it works for: workers die with their agent, strays are found and ended.

The kernel carries this (prctl(2)), so it holds even when an agent or a worker is killed with SIGKILL.
"""

import ctypes
import os
import signal
import threading
import time
from pathlib import Path

AGENT_VARIABLE = "SLURMWRIGHT_AGENT_PID"
_SET_PARENT_DEATH_SIGNAL = 1
_SET_CHILD_SUBREAPER = 36


def follow_agent() -> None:
    """In a worker: die when the agent does, and let forked children (data loaders) die with the worker.

    Does nothing in a process that no agent started.
    """
    agent = os.environ.get(AGENT_VARIABLE)
    if agent is None or not agent.isdigit():
        return
    _die_with_parent(int(agent))
    parent, steady = os.getpid(), True

    def before() -> None:
        # The kernel means the parent thread, not its process: a child of a short-lived thread would die too soon.
        nonlocal parent, steady
        parent, steady = os.getpid(), threading.current_thread() is threading.main_thread()

    def in_child() -> None:
        if steady:
            _die_with_parent(parent)

    os.register_at_fork(before=before, after_in_child=in_child)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies, so that `end_descendants` finds it."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def end_descendants(seconds: float = 5.0) -> list[int]:
    """Kill and reap everything that this process has started, directly or not. Returns the pids that withstood."""
    deadline = time.monotonic() + seconds
    while True:
        alive = descendants(os.getpid())
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        _reap()
        if not alive or time.monotonic() > deadline:
            return alive
        time.sleep(0.02)


def descendants(ancestor: int) -> list[int]:
    """Pids of the live processes below `ancestor`; zombies are left out."""
    children: dict[int, list[int]] = {}
    dead = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # The name of the program, in parentheses, may hold blanks and parentheses itself.
            state, parent = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        children.setdefault(int(parent), []).append(int(entry.name))
        if state in "ZX":
            dead.add(int(entry.name))
    found, queue = [], [ancestor]
    while queue:
        below = children.get(queue.pop(), [])
        queue += below
        found += [pid for pid in below if pid not in dead]
    return found


def _die_with_parent(parent: int) -> None:
    _prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        # It died before the kernel knew what we want.
        os.kill(os.getpid(), signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
