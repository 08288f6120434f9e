"""A small file system of its own for the run's folder, which can be filled without harm to the machine's."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.slurm.cluster.commands import run

MIB = 96
"""Its size: a run of the tiny model needs a third."""
_BALLAST = ".ballast"


class Disk:
    """A tmpfs. It must be mounted before the cluster is booted, whose nodes then see it."""

    def __init__(self, place: Path) -> None:
        self.place = place

    @property
    def mounted(self) -> bool:
        """Whether it is there."""
        return self.place.is_mount()

    def mount(self) -> None:
        """Mount it, empty, where it is not."""
        self.place.mkdir(parents=True, exist_ok=True)
        if not self.mounted:
            run(
                ["mount", "-t", "tmpfs", "-o", f"size={MIB}m,mode=700", "slurmwright-storm", str(self.place)],
                timeout=20,
            )
        self.free()

    def unmount(self) -> None:
        """Give it back, with all that is in it."""
        if self.mounted:
            run(["umount", "--lazy", str(self.place)], timeout=20)

    @contextmanager
    def full(self) -> Iterator[None]:
        """Not one more block can be written to it meanwhile."""
        try:
            self.fill()
            yield
        finally:
            self.free()

    def fill(self) -> None:
        """Write until nothing fits any more."""
        with (self.place / _BALLAST).open("ab", buffering=0) as file:
            for size in (1 << 20, 4096):
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def free(self) -> None:
        """Take the ballast away."""
        (self.place / _BALLAST).unlink(missing_ok=True)
