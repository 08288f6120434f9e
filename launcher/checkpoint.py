"""Verb `checkpoint`: let a running run save, and go on."""

from collections.abc import Sequence

from conf.folder import RunFolder, now, write_json
from launcher import asking


def main(argv: Sequence[str]) -> int:
    """`python -m launcher checkpoint RUN [--wait] [--json]`. Gives the exit code.

    Raises InputError for a run that is not running."""
    return asking.main("checkpoint", "Let a running run save after its present step, and go on.", argv, ask, ends=False)


def ask(folder: RunFolder) -> bool:
    """Write RUN/save; its presence is the request. False where one is there that the run has not seen yet."""
    new = not folder.save_file.exists()
    write_json(folder.save_file, {"asked": now()})
    return new
