"""The signals of a search's worker: notices are passed on to the run; without one they end the worker."""

import signal
from types import FrameType

_NOTICES = (signal.SIGUSR1, signal.SIGUSR2)
_ENDINGS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Notices:
    """What this process was told. Nothing is done in a handler but to note it down."""

    def __init__(self) -> None:
        self.leaving = False
        """Whether the worker is to end."""
        self._told: list[signal.Signals] = []

    def install(self) -> None:
        """Listen from now on."""
        for number in (*_NOTICES, *_ENDINGS):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves it
                signal.signal(number, self._note)

    def take(self) -> list[signal.Signals]:
        """What was told since the last call, to be passed on: SIGINT and SIGHUP as SIGTERM."""
        told, self._told = self._told, []
        return [number if number in _NOTICES else signal.SIGTERM for number in told]

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._told.append(signal.Signals(number))
        self.leaving = True
