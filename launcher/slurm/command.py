"""Calling Slurm's programs: always with a time limit."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence

from launcher.errors import SiteError


class NoAnswer(SiteError):
    """Slurm did not answer in time, or said that it could not: what was asked may have been done all the same."""


class Refused(SiteError):
    """Slurm answered, and refused."""


_UNSURE = (
    "socket timed out", "unable to contact", "connection refused", "connection timed out", "communication",
    "zero bytes",
)  # fmt: skip
"""What Slurm's programs say when they cannot tell whether the controller heard them."""


def available(program: str) -> bool:
    """Whether one of Slurm's programs is on the PATH."""
    return shutil.which(program) is not None


def call(command: Sequence[str], timeout: float, env: Mapping[str, str] | None = None) -> str:
    """Standard output of one of Slurm's programs.

    Raises NoAnswer after `timeout` seconds or where Slurm cannot be reached, Refused for any other failure, and plain
    SiteError where the program is missing.
    """
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            env=None if env is None else dict(env),
            encoding="utf-8",
            errors="replace",
            umask=0o077,  # sbatch hands it on, and the job's log is written with it
        )
    except FileNotFoundError:
        raise SiteError(
            f"there is no {command[0]} on the PATH: this machine has no Slurm. Log in to a machine that has, or train "
            "on this one with cluster=local"
        ) from None
    except subprocess.TimeoutExpired:
        raise NoAnswer(f"{command[0]} did not answer within {timeout:g} s") from None
    if done.returncode == 0:
        return done.stdout
    said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").replace("\n", "; ")
    kind = NoAnswer if any(phrase in said.lower() for phrase in _UNSURE) else Refused
    raise kind(said if said.startswith(command[0]) else f"{command[0]}: {said}")
