"""One write behind training: a thread at most, whose failure is not lost."""

import threading
from collections.abc import Callable


class Behind:
    """Runs one piece of work at a time in a thread. The work must not use collectives of the main thread's group."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Begin it, once what was begun before is done. Raises what that one raised."""
        self.wait()
        # A process that has to end does not wait for a disk: what is half written is invisible.
        self._thread = threading.Thread(target=self._run, args=(work,), name="checkpoint", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise what the work has raised, where it is over. Does not wait."""
        if self._thread is not None and not self._thread.is_alive():
            self.wait()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until nothing is under way, at most so many seconds, and raise what it raised, once."""
        if self._thread is not None:
            self._thread.join(seconds)
            if self._thread.is_alive():
                return
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._error = error
