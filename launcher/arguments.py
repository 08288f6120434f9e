"""The command line of the verbs that look at runs: run ids, --root, --json, and mistakes in words."""

import argparse
from collections.abc import Sequence
from typing import NoReturn

from conf.schema.operations import RunPlace
from launcher.errors import InputError


class Parser(argparse.ArgumentParser):
    """argparse, but a mistake is an InputError, and nothing is guessed from a part of a flag."""

    def __init__(self, verb: str, description: str) -> None:
        super().__init__(prog=f"python -m launcher {verb}", description=description, allow_abbrev=False)
        self.add_argument("--root", default=RunPlace().root, help="folder of run folders (default: %(default)s)")
        self.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def error(self, message: str) -> NoReturn:
        """Raise the mistake."""
        raise InputError(f"{message}\n{self.format_usage().strip()}")

    def read(self, argv: Sequence[str]) -> argparse.Namespace:
        """The arguments; `run.root=DIR` is another spelling of `--root DIR`."""
        words = [f"--root={word.partition('=')[2]}" if word.startswith("run.root=") else word for word in argv]
        return self.parse_intermixed_args(words)
