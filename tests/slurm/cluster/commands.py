"""Running external commands: always with a time limit, with an error that says what went wrong."""

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# Daemons start from this environment, not from the caller's: nothing of a test session may leak into jobs.
PLAIN_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


class ClusterError(Exception):
    """The cluster could not do what was asked; the message holds the end of the log that explains it."""


def run(
    command: Sequence[str],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    text: str = "",
    log: Path | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a command with `text` as its input; after `timeout` seconds it and its children are killed.

    With `log` the output is appended to that file: a command that leaves a daemon behind needs it, since the daemon
    would hold a pipe open. `check` raises ClusterError for an exit code other than 0.
    """
    output = log.open("a") if log else subprocess.PIPE
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        env=None if env is None else dict(env),
        cwd=cwd,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(text, timeout)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            raise ClusterError(f"no end within {timeout:g} s: {shlex.join(command)}{tail(log)}") from None
        raise
    finally:
        for stream in (process.stdin, process.stdout, process.stderr, output):
            if stream is not None and not isinstance(stream, int):
                stream.close()
    if check and process.returncode != 0:
        said = f"\n{(out or '') + (err or '')}".rstrip() + tail(log)
        raise ClusterError(f"exit code {process.returncode}: {shlex.join(command)}{said}")
    return subprocess.CompletedProcess(list(command), process.returncode, out or "", err or "")


def wait_until(condition: Callable[[], bool], *, timeout: float, what: str, log: Path | None = None) -> None:
    """Poll `condition` until it holds; ClusterError with the end of `log` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    pause = 0.02
    while not condition():
        if time.monotonic() > deadline:
            raise ClusterError(f"waited {timeout:g} s in vain: {what}{tail(log)}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.3)


def tail(log: Path | None, lines: int = 20) -> str:
    """The last lines of a log file, ready to be appended to a message; empty without a log."""
    if log is None or not log.exists():
        return ""
    last = log.read_text(errors="replace").splitlines()[-lines:]
    return "".join(f"\n  {log.name}: {line}" for line in last)
