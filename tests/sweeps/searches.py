"""Searches through the command line, on this machine, with a trainer that takes no time."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from conf.folder import RunFolder, read_lines
from sweeps.folder import SweepFolder
from sweeps.study import Job, Study

ROOT = Path(__file__).parents[2]
SECONDS = 240.0
RATES = "method.learning_rate='tag(log,interval(1e-4,1e-1))'".replace("'", "")


class Home:
    """A person's folder."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.python = folder / "python"
        self.python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ROOT / "tests/sweeps/pretend.py"}" "$@"\n')
        self.python.chmod(0o755)
        (folder / "rows.jsonl").write_text('{"messages": []}\n')
        paths = {"PYTHONPATH": str(ROOT), "SLURMWRIGHT_STORE": str(folder / "store")}
        self.environment = {**os.environ, **paths, **environment}

    def words(self, *words: str) -> list[str]:
        """A search on this machine."""
        fixed = ["model=smollm2_135m", "cluster=local", "data=file", "data.path=rows.jsonl", "data.eval_rows=1"]
        return [*fixed, f"site.python={self.python}", "site.prepare=run", "method.max_steps=18", *words]

    def run(self, room: str, *words: str, expect: int = 0) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        command = [sys.executable, "-m", room, *words]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=SECONDS
        )
        assert done.returncode == expect, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def search(self, name: str, *words: str, expect: int = 0) -> SweepFolder:
        """A search to its end."""
        self.run("launcher", *self.words(f"sweep.name={name}", *words), expect=expect)
        return SweepFolder(self.folder / "runs" / name)

    def refused(self, *words: str) -> dict[str, str]:
        """What is wrong with a search, field -> message."""
        done = self.run("launcher", *self.words(*words), "--json", expect=2)
        return {problem["field"]: problem["message"] for problem in json.loads(done.stdout)["problems"]}

    def worker(self, sweep: SweepFolder) -> "subprocess.Popen[bytes]":
        """One more worker of a search, in the background."""
        command = [sys.executable, "-m", "sweeps", "worker", str(sweep.path)]
        log = open(self.folder / f"worker-{os.urandom(2).hex()}.log", "wb")  # noqa: SIM115  (the process has it)
        with log:
            return subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=log, stderr=log)


def jobs(sweep: SweepFolder) -> list[Job]:
    """The jobs of a search that count."""
    return [job for job in Study(sweep).jobs() if job.void is None]


def attempts(folder: RunFolder) -> list[dict[str, Any]]:
    """attempt.json of each attempt of a run."""
    paths = sorted(folder.attempts.glob("*/attempt.json"))
    return [json.loads(path.read_text()) for path in paths]


def steps(folder: RunFolder) -> list[int]:
    """The steps that a run has made, in order, over all its attempts."""
    return [line["step"] for line in read_lines(folder.metrics_file) if "loss" in line]
