"""`python -m launcher import FILE`: an Axolotl recipe as a recipe of this tool, with the fate of every key."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conf.folder import write_whole
from launcher import report as speaking
from launcher.arguments import Parser
from launcher.axolotl import recipe, report
from launcher.axolotl.effective import effective
from launcher.axolotl.reading import read
from launcher.axolotl.settle import settle
from launcher.axolotl.sheet import Sheet
from launcher.axolotl.translate import translate
from launcher.errors import InputError

_DESCRIPTION = (
    "Turn an Axolotl recipe (a YAML file) into a recipe of this tool. Every key is reported: mapped, equivalent"
    " default, needs a decision, not supported. The recipe goes to stdout, or to FILE with -o; the report to stderr."
)


class _Parser(Parser):
    """The verb's flags: it looks neither at run folders nor at options of one's own."""

    def __init__(self) -> None:
        argparse.ArgumentParser.__init__(
            self, prog="python -m launcher import", description=_DESCRIPTION, allow_abbrev=False
        )
        self.add_argument("--json", action="store_true", help="one JSON document on stdout")


@dataclass(frozen=True)
class Imported:
    """An import at its end."""

    sheet: Sheet
    text: str
    """The new recipe's file."""
    cluster: str
    """Cluster of the example command."""
    warnings: tuple[Any, ...]

    @property
    def left_out(self) -> list[str]:
        """Keys that the recipe goes without."""
        return [finding.key for finding in self.sheet.refused()]


def convert(name: str) -> Imported:
    """Import a recipe. InputError where the file cannot be read; what cannot be taken over stands in the sheet."""
    sheet = translate(read(name))
    cluster, warnings = settle(sheet)
    left_out = [finding.key for finding in sheet.refused()]
    return Imported(sheet, recipe.render(sheet, left_out), cluster, warnings)


def main(argv: Sequence[str]) -> int:
    """The verb. Gives 0, or 2 where a key is not supported and --partial is not given."""
    parser = _Parser()
    parser.add_argument("file", metavar="FILE", help="the Axolotl recipe")
    parser.add_argument("-o", "--output", metavar="FILE", help="write the recipe there (never over another file)")
    parser.add_argument("--partial", action="store_true", help="leave out what is not supported, and say so")
    given = parser.parse_intermixed_args(list(argv))
    imported = convert(given.file)
    refused = imported.left_out
    stopped = bool(refused) and not given.partial
    written = None if stopped else _write(given.output, imported.text)
    command = f"python -m launcher recipe={written or given.output or 'RECIPE.yaml'} +cluster={imported.cluster}"
    if given.json:
        speaking.document(_document(imported, written, command, stopped))
    elif not stopped and given.output is None:
        sys.stdout.write(imported.text)
    _say(imported, given.partial, command, stopped)
    return 2 if stopped else 0


def _write(name: str | None, text: str) -> str | None:
    """Write the recipe; a file that is there stays, unless it says the same."""
    if name is None:
        return None
    path = Path(name).expanduser()
    if path.exists():
        if path.is_file() and path.read_bytes() == text.encode():
            speaking.say(f"{name} is there already, with the same recipe")
            return name
        raise InputError(f"{name} is there already with other contents: name another file, or move it away")
    try:
        write_whole(path, text, 0o644)
    except OSError as error:
        raise InputError(f"{name} cannot be written: {error.strerror}") from None
    return name


def _document(imported: Imported, written: str | None, command: str, stopped: bool) -> dict[str, Any]:
    return {
        "recipe": {"defaults": dict(imported.sheet.choices), **recipe.tree(imported.sheet)},
        "recipe_file": written,
        "command": command,
        "exit_code": 2 if stopped else 0,
        "keys": report.records(imported.sheet),
        "counts": report.counts(imported.sheet),
        "effective": effective(imported.sheet),
        "warnings": speaking.records(imported.warnings),
    }


def _say(imported: Imported, partial: bool, command: str, stopped: bool) -> None:
    speaking.say(report.text(imported.sheet))
    found = report.counts(imported.sheet)
    speaking.say(", ".join(f"{number} {status}" for status, number in found.items() if number))
    if imported.warnings and not stopped:
        speaking.print_warnings(imported.warnings)
    if stopped:
        refused = imported.left_out
        speaking.say(
            f"error: {len(refused)} key{'s' if len(refused) > 1 else ''} of the recipe cannot be taken over: "
            f"{', '.join(refused)}. Nothing was written; --partial imports all the rest"
        )
        return
    if partial and imported.left_out:
        speaking.say(f"left out: {', '.join(imported.left_out)}")
    speaking.say(f"run it: {command}")
