"""Slurm's programs replaced at the seam where they are called: scripts on the PATH that note what they were given."""

import json
import os
import sys
from pathlib import Path

import pytest

_PROGRAM = """#!{python}
import json, os, sys
folder = {folder!r}
name = os.path.basename(sys.argv[0])
with open(os.path.join(folder, name + ".calls"), "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
answer = os.path.join(folder, name + ".answer")
if os.path.exists(answer):
    text = open(answer).read()
    code, _, said = text.partition(":")
    (sys.stdout if code == "0" else sys.stderr).write(said)
    sys.exit(int(code))
if name == "sbatch" and "--test-only" not in sys.argv:
    number = sum("--test-only" not in line for line in open(os.path.join(folder, "sbatch.calls")))
    print(1000 + number)
"""


class FakeSlurm:
    """A Slurm that takes every job, numbered from 1001, and has an empty queue unless told otherwise."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for name in ("sbatch", "squeue", "sacct", "scontrol", "scancel", "sinfo", "srun"):
            program = folder / name
            program.write_text(_PROGRAM.format(python=sys.executable, folder=str(folder)))
            program.chmod(0o755)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put the programs first on the PATH."""
        monkeypatch.setenv("PATH", f"{self.folder}{os.pathsep}{os.environ['PATH']}")

    def answer(self, program: str, code: int, text: str) -> None:
        """What a program says from now on."""
        (self.folder / f"{program}.answer").write_text(f"{code}:{text}")

    def calls(self, program: str) -> list[list[str]]:
        """The arguments of every call so far."""
        try:
            return [json.loads(line) for line in (self.folder / f"{program}.calls").read_text().splitlines()]
        except FileNotFoundError:
            return []

    def submitted(self) -> list[list[str]]:
        """Calls of sbatch that submitted something."""
        return [call for call in self.calls("sbatch") if "--test-only" not in call]
