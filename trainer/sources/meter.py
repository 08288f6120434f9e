"""How far a download is: a bar on a terminal, a plain line now and then elsewhere."""

import logging
import sys
import threading
import time
from types import TracebackType

from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

log = logging.getLogger(__name__)
LINE_SECONDS = 10.0
"""Seconds between two lines where stderr is no terminal."""


class Meter:
    """Bytes that have come, of a known number. Used as a context; `add` may be called from any thread."""

    def __init__(self, total: int, done: int = 0) -> None:
        self.total = total
        self.done = done
        self.stop = False
        """Set when one file cannot be had, so that the others need not come."""
        self._lock = threading.Lock()
        self._told = time.monotonic()
        self._bar: Progress | None = None

    def __enter__(self) -> "Meter":
        if sys.stderr.isatty():
            from rich.console import Console

            columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("", total=self.total, completed=self.done)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def add(self, count: int) -> None:
        """So many more bytes have come; a negative number takes some back."""
        with self._lock:
            self.done += count
            if self._bar is not None:
                self._bar.update(self._task, completed=self.done)
            elif time.monotonic() - self._told >= LINE_SECONDS:
                self._told = time.monotonic()
                share = self.done / self.total if self.total else 1.0
                log.info("%.2f of %.2f GB (%.0f%%)", self.done / 1e9, self.total / 1e9, share * 100)
