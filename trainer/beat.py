"""A training run's sign of progress: a file in the attempt's folder whose age the agents of all nodes can see."""

import os
import time
from pathlib import Path

_NAME = "beat"
EACH = 1.0
"""Least seconds between two signs: a shared file system is no place for more."""


class Beat:
    """Rank 0's end: a sign at every step, evaluated batch and checkpoint."""

    def __init__(self, attempt: Path) -> None:
        self._file = attempt / _NAME
        self._last = -EACH

    def strike(self) -> None:
        """Show progress. Never raises: what ends a run is not its pulse."""
        present = time.monotonic()
        if present - self._last >= EACH:
            self._last = present
            try:
                self._file.touch()
                os.utime(self._file)
            except OSError:
                pass


def beat_age(attempt: Path) -> float | None:
    """Seconds since the last sign, None before the first, by the file system's clock as this node sees it."""
    try:
        return time.time() - (attempt / _NAME).stat().st_mtime
    except OSError:
        return None
