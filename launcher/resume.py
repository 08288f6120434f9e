"""Verb `resume`: go on with a run from its newest checkpoint, with other operational fields where they are typed."""

from collections.abc import Sequence
from pathlib import Path

from launcher.arguments import Parser
from launcher.errors import InputError
from launcher.runs import find
from launcher.submit import relaunch


def main(argv: Sequence[str]) -> int:
    """`python -m launcher resume RUN [KEY=VALUE...]`. Gives the exit code; 0 too for a run that is finished or runs.

    Raises ConfigProblems for a field that is wrong or that belongs to the run's identity."""
    parser = Parser("resume", "Go on with a run from its newest checkpoint; a finished run stays as it is.")
    parser.add_argument("run", metavar="RUN", help="run id or folder")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="operational fields, as cluster.time=2:00:00")
    parser.add_argument("--config-dir", type=Path, help="folder of your own option groups")
    arguments = parser.read(argv)
    if arguments.config_dir is not None and not arguments.config_dir.is_dir():
        raise InputError(f"--config-dir {arguments.config_dir}: there is no such folder")
    folder = find(arguments.run, arguments.root)
    return relaunch(folder, arguments.overrides, arguments.json, arguments.config_dir)
