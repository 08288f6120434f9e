"""The one place where signals become flags. A handler sets one and does nothing else."""

import faulthandler
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What asks an agent to end. SIGTERM is also Slurm's notice of preemption."""
NOTICES = (signal.SIGUSR1, signal.SIGUSR2)
"""Slurm's notices before an end (`sbatch --signal`, `preempt_send_user_signal`)."""
TELL = signal.SIGUSR2
"""How an agent tells its workers of a notice."""

DUMP = signal.SIGRTMIN
"""How an agent asks a worker for its stacks. Python's faulthandler answers, even out of a call that hangs."""


class SignalFlags:
    """Which signals an agent has got since `install`."""

    def __init__(self) -> None:
        self.ending: signal.Signals | None = None
        """The first signal that asks for the end."""
        self.notices: list[signal.Signals] = []
        """Notices not yet handled, oldest first."""

    def install(self) -> None:
        """Take over the process's handlers."""
        for number in (*ENDING, *NOTICES):
            signal.signal(number, self._note)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number in NOTICES:
            self.notices.append(signal.Signals(number))
        elif self.ending is None:
            self.ending = signal.Signals(number)


class NoticeFlag:
    """Whether a worker has been told to save and leave.

    Where a site tracks processes by their ancestry, Slurm signals workers as well as agents: SIGTERM is then the same
    notice. An agent that wants a worker dead uses SIGKILL."""

    def __init__(self) -> None:
        self.given = False

    def install(self) -> None:
        """Take over the process's handlers, and let in what came before."""
        for number in (signal.SIGTERM, *NOTICES):
            signal.signal(number, self._note)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, *NOTICES))
        faulthandler.register(DUMP, file=sys.stderr, all_threads=True)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.given = True


@contextmanager
def held_back() -> Iterator[None]:
    """Hold notices back while processes are started: they inherit this, so that none is killed by a notice before it
    knows what one is. What came meanwhile is delivered at the end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, *NOTICES))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
