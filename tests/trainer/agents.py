"""Run folders whose workers are a few lines of Python, and agents started on them as Slurm would."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from conf.folder import RunFolder, write_json
from conf.schema.cluster import ClusterConfig
from conf.schema.operations import LimitsConfig
from conf.schema.run import RunConfig

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 240.0
"""Seconds that a test waits for anything; only a broken one waits that long."""

HEADER = """
import json, os, signal, sys, time
from pathlib import Path

def finish(folder, status="completed"):
    if os.environ["RANK"] == "0":
        text = json.dumps({"status": status, "cause": status, "step": 3})
        (Path(folder) / "result.json").write_text(text)

def out(folder, name, text=""):
    path = Path(folder) / (name + ".tmp")
    path.write_text(text)
    path.rename(Path(folder) / name)

def main(argv):
    rank, folder = int(os.environ.get("RANK", "0")), argv[0]
"""


def run_folder(
    path: Path,
    worker: str,
    nodes: int = 1,
    devices: int = 1,
    kind: str = "slurm",
    limits: dict[str, int] | None = None,
    **modules: str,
) -> RunFolder:
    """A frozen run whose worker's main is `worker`, an indented body of Python; `modules` replace others of trainer."""
    folder = RunFolder(path)
    folder.path.mkdir(parents=True)
    cluster = ClusterConfig.model_validate({"kind": kind, "nodes": nodes, "devices_per_node": devices})
    config = RunConfig(cluster=cluster, limits=LimitsConfig.model_validate(limits or {}))
    folder.config_file.write_text(yaml.safe_dump(config.dump()))
    write_json(folder.manifest_file, {"run_id": folder.id, "assets": {"data": {"path": str(folder.path)}}})
    for room in ("conf", "trainer"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / room, folder.code / room, ignore=ignored)
    for name, body in {"worker": worker, **modules}.items():
        (folder.code / "trainer" / f"{name}.py").write_text(HEADER + body)
    folder.attempt_folder(1).mkdir(parents=True)
    no_slurm(folder)
    return folder


def no_slurm(folder: RunFolder, scontrol: str = "exit 1", sbatch: str = "exit 1", sinfo: str = "exit 1") -> None:
    """Programs of Slurm's for the agents of a run: shell lines that see their arguments as `$*`; all refuse at first.

    Each call is noted down, a line each, in the run's `calls`."""
    (folder.path / "bin").mkdir(exist_ok=True)
    for name, lines in (("scontrol", scontrol), ("sbatch", sbatch), ("sinfo", sinfo)):
        program = folder.path / "bin" / name
        program.write_text(f"#!/bin/sh\necho {name} \"$*\" >>'{folder.path}/calls'\n{lines}\n")
        program.chmod(0o755)


def slurm(nodes: int, rank: int, **more: str) -> dict[str, str]:
    """What Slurm would set for one task; the nodes are addresses of the loopback, which need no name service."""
    return {
        "SLURM_JOB_ID": "77",
        "SLURM_STEP_NODELIST": f"127.0.0.[1-{nodes}]" if nodes > 1 else "127.0.0.1",
        "SLURM_STEP_NUM_NODES": str(nodes),
        "SLURM_NODEID": str(rank),
        **more,
    }


@contextmanager
def agents(folder: RunFolder, nodes: int = 1, **more: str) -> Iterator[list["subprocess.Popen[str]"]]:
    """One agent a node, on this machine; all ended when the block ends."""
    started = [start(folder, slurm(nodes, rank, **more)) for rank in range(nodes)]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate(timeout=PATIENCE)


def start(folder: RunFolder, variables: dict[str, str], cwd: Path | None = None) -> "subprocess.Popen[str]":
    """Start `python -m trainer agent RUN` as a job does: in the run's code folder, as attempt 1."""
    code = cwd or folder.code
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "OMP_", "GLOO_"))}
    kept["PATH"] = f"{folder.path / 'bin'}:{kept['PATH']}"
    environ = kept | {"PYTHONPATH": str(code), "PYTHONSAFEPATH": "1", "SLURMWRIGHT_ATTEMPT": "1", **variables}
    return subprocess.Popen(
        [sys.executable, "-m", "trainer", "agent", str(folder.path)],
        cwd=code, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def until(true: Callable[[], bool], what: str) -> None:
    """Wait for something to come true."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.05)


def up(folder: RunFolder, workers: int) -> list[int]:
    """Pids of all workers, once they run and the agents have met, for which workers do not wait."""
    files = [folder.path / f"up-{rank}" for rank in range(workers)]
    until(lambda: all(file.exists() for file in files), "workers are up")
    nodes = folder.config().cluster.nodes
    until(lambda: sum("meets at" in log.read_text() for log in folder.attempts.glob("*/*.log")) >= nodes, "nodes meet")
    return [int(file.read_text()) for file in files]


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def processes_of(folder: RunFolder) -> list[int]:
    """Pids of the processes that were started for a run, by what their environment says."""
    mark = f"PYTHONPATH={folder.code}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes() and alive(int(entry.name)):
                found.append(int(entry.name))
        except OSError:
            continue
    return found
