"""The one place where an agent's signals become flags. A handler sets one and does nothing else."""

import signal
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""After these the agent ends its workers and leaves."""
NOTICES = (signal.SIGUSR1, signal.SIGUSR2)
"""Slurm's notices (`sbatch --signal`), which would kill a process that does not know them. They are recorded."""


class SignalFlags:
    """Which signals this process has got since `install`."""

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
