"""The verb `data`: what the model will see, token by token, before anything is trained."""

import argparse
import tempfile
from collections.abc import Sequence

from launcher import argv
from launcher.arguments import Parser
from launcher.child import run_trainer
from launcher.freeze import freeze
from launcher.resolve import resolve


def main(arguments: Sequence[str]) -> int:
    """`python -m launcher data OVERRIDES [--row N] [--rows K] [--split train|eval] [--json]`. Gives the exit code."""
    flags, rest = _parser().parse_known_args(list(arguments))
    line = argv.single(argv.parse(rest))
    words = list(line.overrides)
    if not any(word.lstrip("+").startswith("cluster=") for word in words):
        words.append("cluster=local")
    with tempfile.TemporaryDirectory(prefix="slurmwright-data-") as private:
        resolved = resolve([*words, f"run.root={private}"], line.config_dir)
        claim = freeze(resolved)
        try:
            run_trainer(claim.folder, ["show-data", str(claim.folder.path), *_passed_on(flags)])
        finally:
            claim.release()
    return 0


def _parser() -> Parser:
    parser = Parser("data", "What the model will see, token by token.")
    parser.add_argument("--row", type=int)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--split", choices=["train", "eval"])
    return parser


def _passed_on(flags: argparse.Namespace) -> list[str]:
    found = [
        f"--{name}={value}"
        for name, value in vars(flags).items()
        if name != "root" and value not in (None, False, True)
    ]
    return found + (["--json"] if flags.json else [])
