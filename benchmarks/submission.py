"""From the command to the job id: the launcher, bare sbatch, and hydra-submitit-launcher, on the private cluster."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.pairs import PAIRS, Program, Row, interleave, row
from tests.slurm.cluster import Cluster
from tests.slurm.launching import Login
from tests.tiny import tiny_llama, tiny_rows

KEY, OURS = "command to job id", "python -m launcher"
HYDRA_PACKAGES = ["hydra-core==1.3.8", "hydra-submitit-launcher==1.2.0", "submitit==1.5.4"]


def rows(pairs: int = PAIRS) -> list[Row]:
    """Measure; every job is submitted held and cancelled afterwards."""
    hydra_python = hydra_environment()
    with cluster() as slurm, tempfile.TemporaryDirectory() as name:
        home = Path(name)
        tiny_llama(home / "tiny")
        tiny_rows(home / "rows.jsonl", 20, seed=1)
        login = Login(slurm, home, home / "store")

        def ours(number: int) -> dict[str, float]:
            start = time.perf_counter()
            login.submit(
                "+model=hf", f"model.id={home / 'tiny'}", "data=file", f"data.path={home / 'rows.jsonl'}",
                "data.max_length=512", f"seed={number}", "site.prepare=run", "site.sbatch.hold=true",
            )  # fmt: skip
            return {KEY: time.perf_counter() - start}

        def bare(number: int) -> dict[str, float]:
            script = home / "bare.sbatch"
            script.write_text(f"#!/bin/bash\n#SBATCH --hold --job-name=bare{number} --nodes=1\nsrun true\n")
            start = time.perf_counter()
            slurm.run(["sbatch", str(script)])
            return {KEY: time.perf_counter() - start}

        def hydra(number: int) -> dict[str, float]:
            return {KEY: until_queued(slurm, home, hydra_python, number)}

        programs: list[Program] = [(OURS, ours), ("bare sbatch", bare), ("hydra-submitit-launcher", hydra)]
        try:
            measured = interleave(programs, pairs)
        finally:
            slurm.run(["scancel", "--user", "root"])
        return [row(KEY, KEY, OURS, name, measured) for name, _ in programs[1:]]


def until_queued(slurm: Cluster, home: Path, python: Path, number: int) -> float:
    """Seconds until hydra-submitit-launcher's job stands in the queue; the launcher itself blocks until jobs end."""
    before = set(slurm.run(["squeue", "-h", "-o", "%i"]).stdout.split())
    app = Path(__file__).with_name("hydra_app.py")
    command = [
        str(python), str(app), "-m", "hydra/launcher=submitit_slurm", "+hydra.launcher.additional_parameters.hold=true",
        f"rank={number + 1}", f"hydra.sweep.dir={home / 'hydra'}",
    ]  # fmt: skip
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=home, env={**os.environ, **slurm.env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        while set(slurm.run(["squeue", "-h", "-o", "%i"]).stdout.split()) <= before:
            if process.poll() is not None or time.perf_counter() - start > 60:
                output = process.communicate(timeout=5)[0] if process.poll() is not None else b"no job after 60 s"
                raise RuntimeError(f"hydra-submitit-launcher: {output.decode(errors='replace')[-2000:]}")
            time.sleep(0.01)
        return time.perf_counter() - start
    finally:
        process.kill()
        process.wait(timeout=10)


def hydra_environment() -> Path:
    """The python of an environment of its own for hydra-submitit-launcher, built once in the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "slurmwright-bench" / "hydra-submitit"
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *HYDRA_PACKAGES], check=True, timeout=600)
        (folder / ".ready").touch()
    return python


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A private cluster for as long as the measurement takes."""
    booted = Cluster.boot(f"b{os.getpid() % 10000}", owner=os.getpid())
    try:
        yield booted
    finally:
        booted.down()
