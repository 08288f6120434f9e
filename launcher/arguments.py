"""The command line of the verbs that take words and flags but no overrides: --json, --root or --config-dir, and
mistakes in words."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from conf.schema.operations import RunPlace
from launcher.argv import own_folder
from launcher.errors import InputError


class Parser(argparse.ArgumentParser):
    """argparse, but a mistake is an InputError, and nothing is guessed from a part of a flag."""

    def __init__(self, verb: str, description: str, *, runs: bool = True) -> None:
        """`runs`: the verb looks at run folders, and takes --root; else at options, and takes --config-dir."""
        super().__init__(prog=f"python -m launcher {verb}", description=description, allow_abbrev=False)
        if runs:
            self.add_argument("--root", default=RunPlace().root, help="folder of run folders (default: %(default)s)")
        else:
            self.add_argument("--config-dir", help="folder of your own options (default: SLURMWRIGHT_CONFIG_DIR)")
        self.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def error(self, message: str) -> NoReturn:
        """Raise the mistake."""
        raise InputError(f"{message}\n{self.format_usage().strip()}")

    def read_options(self, argv: Sequence[str]) -> tuple[argparse.Namespace, Path | None]:
        """The arguments of a verb that looks at options, and the folder of the user's own."""
        read = self.parse_intermixed_args(list(argv))
        return read, own_folder(read.config_dir)

    def read(self, argv: Sequence[str]) -> argparse.Namespace:
        """The arguments; `run.root=DIR` is another spelling of `--root DIR`."""
        words = [f"--root={word.partition('=')[2]}" if word.startswith("run.root=") else word for word in argv]
        return self.parse_intermixed_args(words)
