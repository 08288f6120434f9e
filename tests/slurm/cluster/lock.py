"""A lock between processes that leaves no file behind: the kernel drops it with its holder."""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from .commands import wait_until


@contextmanager
def lock(name: str, timeout: float = 60) -> Iterator[None]:
    """Hold the machine-wide lock `name` (an abstract socket address); ClusterError when it stays taken."""
    holder = socket.socket(socket.AF_UNIX)

    def take() -> bool:
        try:
            holder.bind(f"\0slurmwright-{name}")
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
        return True

    with holder:
        wait_until(take, timeout=timeout, what=f"another process holds the lock {name!r}")
        yield
