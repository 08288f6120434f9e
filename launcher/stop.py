"""Verb `stop`: let a running run save and end at its next step."""

from collections.abc import Sequence

from conf.folder import RunFolder, read_json, write_json
from launcher import asking


def main(argv: Sequence[str]) -> int:
    """`python -m launcher stop RUN [--wait] [--json]`. Gives the exit code; 0 too where it was asked before.

    Raises InputError for a run that is not running."""
    return asking.main("stop", "Let a running run save and end. `resume` goes on with it.", argv, ask, ends=True)


def ask(folder: RunFolder) -> bool:
    """Write RUN/stop. False where somebody has asked before: whose reason stands."""
    if folder.stop_file.exists() and not _is_for_later(folder):
        return False
    write_json(folder.stop_file, {"reason": "stopped"})
    return True


def _is_for_later(folder: RunFolder) -> bool:
    """Whether a search has asked for a stop after some step to come."""
    try:
        return "step" in read_json(folder.stop_file)
    except ValueError:
        return False
