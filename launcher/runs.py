"""Finding run folders by what a person types: a run id under the run root, or a path."""

import os
from collections.abc import Callable
from pathlib import Path

from conf.folder import RunFolder
from conf.schema.problems import did_you_mean
from launcher.errors import InputError


def find(name_or_path: str | Path, root: str | Path) -> RunFolder:
    """The folder of a run: a plain name is looked up under the root, anything else is a path.

    Raises InputError, with the nearest ids, where there is no such run."""
    return RunFolder(find_folder(name_or_path, root, is_run, "run"))


def list_runs(root: str | Path) -> list[RunFolder]:
    """All runs under a root, oldest first."""
    found = list_folders(root, is_run)
    return [RunFolder(path) for path in sorted(found, key=lambda path: (path / "manifest.json").stat().st_ctime)]


def find_folder(name_or_path: str | Path, root: str | Path, is_one: Callable[[Path], bool], what: str) -> Path:
    """A folder of a kind, by what a person types; `what` names the kind in one word.

    Raises InputError, with the nearest names, where there is none."""
    text = str(name_or_path)
    place = Path(os.path.abspath(os.path.expanduser(root)))
    candidates = [Path(os.path.abspath(os.path.expanduser(text)))] if text else []
    if text and os.sep not in text and not text.startswith("."):
        candidates.insert(0, place / text)
    for path in candidates:
        if is_one(path):
            return path
    ids = [path.name for path in list_folders(place, is_one)]
    guess = did_you_mean(text, ids) if ids else f"there are no {what}s"
    raise InputError(f"no {what} {text!r} in {place}: {guess or f'{len(ids)} {what}s lie there'}. A path is good too")


def list_folders(root: str | Path, is_one: Callable[[Path], bool]) -> list[Path]:
    """The folders of a kind under a root; [] where there is no such root."""
    place = Path(os.path.abspath(os.path.expanduser(root)))
    try:
        return [entry for entry in place.iterdir() if not entry.name.startswith(".") and is_one(entry)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def is_run(path: Path) -> bool:
    """Whether a folder is a run: it has a frozen config and a manifest."""
    return os.path.isfile(path / "config.yaml") and os.path.isfile(path / "manifest.json")
