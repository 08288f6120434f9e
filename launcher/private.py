"""A run that nobody keeps: frozen in a folder of its own for a trainer command, and gone afterwards."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from conf.folder import RunFolder
from launcher.freeze import freeze
from launcher.resolve import Resolved


def with_cluster(words: Sequence[str]) -> list[str]:
    """The words of a command for which it does not matter where the run would train: one that chooses no cluster is
    of this machine."""
    found = list(words)
    if not any(word.lstrip("+").startswith("cluster=") for word in found):
        found.append("cluster=local")
    return found


@contextmanager
def private_run(resolved: Resolved) -> Iterator[RunFolder]:
    """A folder of its own for a checked run, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="slurmwright-") as private:
        place = resolved.config.run.model_copy(update={"root": private})
        claim = freeze(replace(resolved, config=resolved.config.model_copy(update={"run": place})))
        try:
            yield claim.folder
        finally:
            claim.release()
