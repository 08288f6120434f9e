"""What other rooms add to the command line, by entry points: the launcher imports none of them."""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from launcher.errors import InputError

_GROUP = "slurmwright.verbs"
_SEVERAL = "multirun"
"""How the names begin of what is not typed as a verb, but takes over where several runs are asked for."""


def added() -> dict[str, EntryPoint]:
    """The verbs that other rooms add."""
    return {name: entry for name, entry in _found().items() if not name.startswith(_SEVERAL)}


def of_several(what: str) -> Callable[..., Any]:
    """What does `submit`, `plan` or `runs` for a command that asks for several runs.

    Raises InputError where the installed package does not know it, as after a pull without `make setup`."""
    found = _found().get(f"{_SEVERAL}-{what}")
    if found is None:
        raise InputError("the environment was made for an earlier version of Slurmwright: type `make setup`")
    loaded: Callable[..., Any] = found.load()
    return loaded


def _found() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=_GROUP)}
