"""Whose weights and rows a command touches: one run's, or those of all trials of a sweep."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from conf.staged import staged_key
from launcher import argv
from launcher.errors import InputError
from launcher.private import with_cluster
from launcher.resolve import Resolved, resolve
from launcher.rooms import of_several


def read(words: Sequence[str], config_dir: str | None) -> argv.Line:
    """The line of a verb that starts no job. Raises InputError for a flag that has no meaning there."""
    line = argv.parse(words)
    if line.wait or line.hold:
        raise InputError("--wait and --hold are for jobs, and this verb starts none: leave them out")
    return replace(line, config_dir=argv.own_folder(config_dir))


def runs(line: argv.Line, store: str | None) -> list[Resolved]:
    """The run of a line, or of those that a sweep asks for one for each set of assets. `store` replaces store.root.

    Raises ConfigProblems with every problem of every run."""
    words = [*with_cluster(line.overrides), *([] if store is None else [f"store.root={store}"])]
    if not line.multirun:
        return [resolve(words, line.config_dir)]
    found: list[Resolved] = of_several("runs")(replace(line, overrides=tuple(words)))
    first: dict[str, Resolved] = {}
    for run in found:
        first.setdefault(staged_key(run.config), run)
    return list(first.values())


def distinct(assets: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Assets of several runs, each once."""
    return list({(asset["kind"], asset["path"]): asset for asset in assets}.values())


def typed(line: argv.Line) -> Sequence[str]:
    """The words of a line as they are typed again."""
    return [*line.overrides, *(["-m"] if line.multirun else [])]
