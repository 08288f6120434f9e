"""The verb `data`: what the model will see, token by token, before anything is trained."""

import argparse
from collections.abc import Sequence

from launcher import argv
from launcher.arguments import Parser
from launcher.child import run_trainer
from launcher.private import private_run, with_cluster
from launcher.resolve import resolve


def main(arguments: Sequence[str]) -> int:
    """`python -m launcher data OVERRIDES [--row N] [--rows K] [--split train|eval] [--json]`. Gives the exit code."""
    flags, rest = _parser().parse_known_args(list(arguments))
    line = argv.single(argv.parse(rest))
    with private_run(resolve(with_cluster(line.overrides), line.config_dir)) as folder:
        run_trainer(folder, ["show-data", str(folder.path), *_passed_on(flags)])
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
