"""Launching on the private cluster as a person at its login node would, and waiting for the end."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from conf.folder import FINAL, RunFolder
from tests.slurm.cluster import Cluster

REPOSITORY = Path(__file__).parents[2]
CONF = Path(__file__).parent / "conf"


class Login:
    """A person's shell on the login node: a working folder, a store, and the launcher."""

    def __init__(self, cluster: Cluster, folder: Path, store: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self.environment = {
            **os.environ,
            **cluster.env,
            "SLURMWRIGHT_STORE": str(store),
            "SLURMWRIGHT_CONFIG_DIR": str(CONF),
            "PYTHONPATH": str(REPOSITORY),
        }

    def launcher(self, *words: str, expect: int = 0, timeout: float = 240) -> dict[str, Any]:
        """Run `python -m launcher WORDS --json`; its JSON document, {} where it printed none."""
        done = subprocess.run(
            [sys.executable, "-m", "launcher", *words, "--json"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == expect, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        document: dict[str, Any] = json.loads(done.stdout) if done.stdout.strip() else {}
        return document

    def submit(self, *words: str) -> RunFolder:
        """Submit a run to the sandbox cluster; its folder."""
        return RunFolder(self.launcher("+cluster=sandbox", *words)["folder"])


def wait_for_end(folder: RunFolder, timeout: float = 300) -> dict[str, Any]:
    """The run's result.json once it has a final status; fails with the logs when it takes too long."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if (result := folder.result()).get("status") in FINAL:
            return result
        time.sleep(0.5)
    raise AssertionError(f"{folder.id} has not ended after {timeout:.0f} s\n{all_logs(folder)}")


def completed(folder: RunFolder, timeout: float = 300) -> dict[str, Any]:
    """The result of a run that must have completed."""
    result = wait_for_end(folder, timeout)
    assert result["status"] == "completed", f"{result}\n{all_logs(folder)}"
    return result


def wait_for_event(folder: RunFolder, event: str, timeout: float = 300) -> dict[str, Any]:
    """The first event of a name, once it is there."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        for line in folder.events():
            if line["event"] == event:
                return line
        time.sleep(0.3)
    raise AssertionError(f"{folder.id} has no event {event} after {timeout:.0f} s\n{all_logs(folder)}")


def all_logs(folder: RunFolder) -> str:
    """The end of every log of a run, for a failure's message."""
    parts = []
    for path in sorted(folder.attempts.rglob("*.log")):
        parts.append(f"== {path.name}\n{path.read_text(errors='replace')[-3000:]}")
    return "\n".join(parts)
