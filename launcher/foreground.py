"""A run that this very command carries out: its process is watched, and ends when the command does."""

import ctypes
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO

from conf.folder import RunFolder
from launcher import process, report
from launcher.follow import follow

PATIENCE = 90.0
"""Seconds that a run has to leave by itself once it was asked to."""
_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


def carry_out(
    command: Sequence[str],
    folder: RunFolder,
    *,
    cwd: Path,
    env: Mapping[str, str],
    log: Path,
    attempt: int,
    as_json: bool = False,
    job_id: str | None = None,
    ask: Callable[[int], None] = process.ask_to_leave,
) -> int:
    """Start a command, follow the run, and end the command where this one is interrupted. Gives the exit code.

    The command has a session of its own, so that Ctrl-C reaches this process alone, which then asks it to leave (`ask`
    gets its pid) and waits. Should this process be killed, the kernel asks in its place: nothing goes on behind a
    closed terminal.
    """
    with _interrupting(), open(log, "ab", opener=partial(os.open, mode=0o600)) as output:
        child = spawn(command, cwd, env, output)
        try:
            folder.append_event("submitted", attempt, job_id=job_id, pid=child.pid, host=socket.gethostname())
            code = follow(folder, as_json=as_json, running=lambda: child.poll() is None, first_attempt=attempt)
        except KeyboardInterrupt:
            report.say(f"\ninterrupted: asks {folder.id} to leave (once more: kills it)")
            end(child, ask)
            report.say(f"{folder.id} is ended; to go on from its newest checkpoint type "
                       f"`python -m launcher resume {folder.id}`")  # fmt: skip
            code = 130
        finally:
            if child.poll() is None:
                end(child, ask)
            if log.stat().st_size == 0:
                log.unlink()
    return code


def spawn(command: Sequence[str], cwd: Path, env: Mapping[str, str], output: IO[bytes]) -> "subprocess.Popen[bytes]":
    """Start a command in a session of its own, its output appended to a log. Should this process be killed, the kernel
    asks the command to leave."""
    launcher = os.getpid()

    def ask_to_leave_with_launcher() -> None:
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != launcher:
            os._exit(1)

    return subprocess.Popen(
        list(command),
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        preexec_fn=ask_to_leave_with_launcher,
        umask=0o077,
    )


def end(child: "subprocess.Popen[bytes]", ask: Callable[[int], None]) -> None:
    """Ask, wait, then kill the process and everything below it."""
    try:
        ask(child.pid)
        child.wait(PATIENCE)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill_all(child.pid)
        child.wait(10)


@contextmanager
def _interrupting() -> Iterator[None]:
    """SIGTERM and SIGHUP interrupt as Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt)
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN  # as nohup leaves it
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
