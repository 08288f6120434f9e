"""Trainer commands that the login node runs as child processes, since they need torch: prepare and show-data."""

import os
import select
import subprocess
import sys
from collections.abc import Sequence

from conf.folder import RunFolder
from launcher.environment import without_training
from launcher.errors import LauncherError, SiteError

TIMEOUT = 24 * 3600.0
"""Seconds for one command: weights of hundreds of GB may be on their way."""
_MEANT = (2, 3, 4, 5, 130)
"""Exit codes that say what is wrong; any other is a bug."""


def run_trainer(folder: RunFolder, arguments: Sequence[str], quiet: bool = False) -> None:
    """`python -m trainer ARGUMENTS` with the run's own code.

    Its stdout goes to ours, or with `quiet` to stderr. Ctrl-C reaches it as well and ends it. Raises LauncherError
    with its exit code where it fails (it has said why), SiteError where it takes longer than TIMEOUT."""
    environment = without_training(os.environ)
    paths = [str(folder.code), *filter(None, [environment.get("PYTHONPATH")])]
    environment |= {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "trainer", *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=folder.code,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr if quiet else None,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise SiteError(f"`{' '.join(command[1:])}` was ended after {TIMEOUT / 3600:g} hours") from None
    if done.returncode and (quiet or not _reader_left()):
        error = LauncherError(f"`python {' '.join(command[1:4])}` failed; what is wrong stands above")
        error.exit_code = done.returncode if done.returncode in _MEANT else 1
        raise error


def _reader_left() -> bool:
    """Whether nobody reads our stdout any more (`| head`): what a child says of that is no failure."""
    poller = select.poll()
    poller.register(1, 0)
    return any(event & select.POLLERR for _, event in poller.poll(0))
