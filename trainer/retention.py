"""Which checkpoints stay: the newest, each so many steps for good, and the best. Rank 0 alone."""

from pathlib import Path

from trainer import checkpoint

_Stamp = tuple[tuple[str, int, int], ...]


class Retention:
    """Removes checkpoints that nothing needs any more.

    Only checkpoints that verify count among the newest, so that the last good one is never removed on account of a
    damaged one. Files are digested once; after that their sizes and times tell whether somebody has touched them."""

    def __init__(self, checkpoints: Path, keep: int, keep_every: int | None = None) -> None:
        """`keep` newest stay, and those whose step is a multiple of `keep_every`."""
        self.checkpoints = checkpoints
        self.keep = keep
        self.keep_every = keep_every
        self._known: dict[Path, _Stamp] = {}

    def trust(self, path: Path) -> None:
        """This checkpoint has just been written, or verified."""
        self._known[path] = _stamp(path)

    def prune(self, best: int | None = None) -> list[Path]:
        """Remove what need not stay; the checkpoint of step `best` stays. Returns what was removed."""
        removed, good = [], 0
        for path in reversed(checkpoint.committed(self.checkpoints)):
            if good < self.keep:
                good += self._verifies(path)
            elif not self._for_good(checkpoint.step_of(path), best):
                checkpoint.remove(path)
                removed.append(path)
        return removed

    def _for_good(self, step: int, best: int | None) -> bool:
        return step == best or (self.keep_every is not None and step % self.keep_every == 0)

    def _verifies(self, path: Path) -> bool:
        stamp = _stamp(path)
        if self._known.get(path) == stamp:
            return True
        if checkpoint.why_damaged(path) is not None:
            return False
        self._known[path] = stamp
        return True


def _stamp(path: Path) -> _Stamp:
    found = []
    for file in sorted(path.rglob("*")):
        facts = file.stat()
        found.append((file.name, facts.st_size, facts.st_mtime_ns))
    return tuple(found)
