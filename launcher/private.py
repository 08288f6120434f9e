"""A run that nobody keeps: frozen in a folder of its own for a trainer command, and gone afterwards."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from conf.folder import RunFolder
from launcher.freeze import freeze
from launcher.resolve import resolve


def with_cluster(words: Sequence[str]) -> list[str]:
    """The words of a command for which it does not matter where the run would train: one that chooses no cluster is
    of this machine."""
    found = list(words)
    if not any(word.lstrip("+").startswith("cluster=") for word in found):
        found.append("cluster=local")
    return found


@contextmanager
def private_run(words: Sequence[str], config_dir: Path | None) -> Iterator[RunFolder]:
    """The folder of a run of these words, for as long as the block lasts. Raises ConfigProblems."""
    with tempfile.TemporaryDirectory(prefix="slurmwright-") as private:
        claim = freeze(resolve([*words, f"run.root={private}"], config_dir))
        try:
            yield claim.folder
        finally:
            claim.release()
