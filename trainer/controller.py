"""Slurm's programs, called from a node of a job: always with a time limit, and with patience for a controller that is
away."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

TIMEOUT = 20.0
"""Seconds for one call."""
PATIENCE = 300.0
"""Seconds that a controller which does not answer is waited for. It alone ends jobs, so nobody does it meanwhile; srun
ends a step whose agents have not all left after 600 s."""
_UNHEARD = (
    "unable to contact", "connection refused", "connection timed out", "socket timed out", "communication",
    "zero bytes", "did not answer", "standby mode", "unexpected message",
)  # fmt: skip
"""What Slurm's programs say when they cannot tell whether the controller heard them; the last is what `scontrol
requeue` of 22.05 says where there is none."""


@dataclass(frozen=True)
class Answer:
    """What came of a call."""

    done: bool
    """Whether Slurm did it."""
    said: str = ""
    """The program's output; where it was not done, the complaint in words."""

    @property
    def heard(self) -> bool:
        """Whether it is certain that the controller heard the question."""
        return self.done or not any(phrase in self.said.lower() for phrase in _UNHEARD)


def ask(*command: str) -> Answer:
    """Run a program of Slurm's once."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT, env=_environment(), stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return Answer(False, f"{command[0]} did not answer within {TIMEOUT:g} s")
    except OSError as error:
        return Answer(False, f"{command[0]}: {error}")
    if done.returncode == 0:
        return Answer(True, done.stdout)
    return Answer(False, f"{command[0]}: {(done.stderr or done.stdout).strip()}")


def output(*command: str) -> str:
    """Standard output of a program of Slurm's; empty where it fails."""
    answer = ask(*command)
    return answer.said if answer.done else ""


def insist(command: tuple[str, ...], done_already: Callable[[], str]) -> Answer:
    """Ask until the controller is known to have heard it, for PATIENCE seconds at most.

    A question without an answer may have been heard all the same: before it is put again, `done_already` looks, and
    gives what stands for the answer, or nothing."""
    deadline, pause = time.monotonic() + PATIENCE, 1.0
    while True:
        answer = ask(*command)
        if answer.heard or time.monotonic() + pause > deadline:
            return answer
        print(f"{answer.said}; asks again in {pause:g} s", file=sys.stderr, flush=True)
        time.sleep(pause)
        pause = min(2 * pause, 15.0)
        if said := done_already():
            return Answer(True, said)


def _environment() -> dict[str, str]:
    """Without this job's own variables, which sbatch would take for wishes."""
    kept = ("SLURM_CONF", "SLURM_TIME_FORMAT")
    return {
        name: value
        for name, value in (os.environ | {"SLURM_TIME_FORMAT": "standard"}).items()
        if name in kept or not name.startswith(("SLURM_", "SBATCH_", "SRUN_", "MASTER_"))
    }
