"""Finding run folders by what a person types: a run id under the run root, or a path."""

import os
from pathlib import Path

from conf.folder import RunFolder
from conf.schema.problems import did_you_mean
from launcher.errors import InputError


def find(name_or_path: str | Path, root: str | Path) -> RunFolder:
    """The folder of a run: a plain name is looked up under the root, anything else is a path.

    Raises InputError, with the nearest ids, where there is no such run."""
    text = str(name_or_path)
    place = Path(os.path.abspath(os.path.expanduser(root)))
    candidates = [Path(os.path.abspath(os.path.expanduser(text)))] if text else []
    if text and os.sep not in text and not text.startswith("."):
        candidates.insert(0, place / text)
    for path in candidates:
        if is_run(path):
            return RunFolder(path)
    ids = [folder.id for folder in list_runs(place)]
    guess = did_you_mean(text, ids) if ids else "there are no runs"
    raise InputError(f"no run {text!r} in {place}: {guess or f'{len(ids)} runs lie there'}. A path is good too")


def list_runs(root: str | Path) -> list[RunFolder]:
    """All runs under a root, oldest first."""
    place = Path(os.path.abspath(os.path.expanduser(root)))
    try:
        found = [entry for entry in place.iterdir() if not entry.name.startswith(".") and is_run(entry)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [RunFolder(path) for path in sorted(found, key=lambda path: (path / "manifest.json").stat().st_ctime)]


def is_run(path: Path) -> bool:
    """Whether a folder is a run: it has a frozen config and a manifest."""
    return os.path.isfile(path / "config.yaml") and os.path.isfile(path / "manifest.json")
