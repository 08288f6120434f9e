"""From the command to all trials in the queue: a sweep of the launcher against hydra-submitit-launcher, on the private
cluster. `python -m benchmarks sweeps`; BENCH_TRIALS says how many trials."""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.pairs import Program, Row, interleave, row
from benchmarks.submission import OURS, cluster, hydra_environment
from tests.slurm.cluster import Cluster
from tests.slurm.launching import Login

TRIALS = int(os.environ.get("BENCH_TRIALS", "1000"))
PAIRS = 3
"""Pairs behind the row: the alternative takes minutes."""
PATIENCE = 900.0
"""Seconds until all trials must stand in the queue."""


def rows() -> list[Row]:
    """Measure; all jobs are submitted held and cancelled afterwards."""
    key = f"command to {TRIALS} trials queued"
    hydra_python = hydra_environment()
    with cluster() as slurm, tempfile.TemporaryDirectory() as name:
        home = Path(name)
        login = Login(slurm, home, home / "store")

        def ours(number: int) -> dict[str, float]:
            start = time.perf_counter()
            seeds = f"seed=range({number * TRIALS},{(number + 1) * TRIALS})"
            words = ["+cluster=sandbox", "+model=smollm2_135m", "site.prepare=run", "--hold", "-m", seeds]
            login.launcher(*words, timeout=PATIENCE)
            seconds = time.perf_counter() - start
            _clear(slurm)
            return {key: seconds}

        def hydra(number: int) -> dict[str, float]:
            return {key: _until_queued(slurm, home, hydra_python, number)}

        programs: list[Program] = [(OURS, ours), ("hydra-submitit-launcher", hydra)]
        measured = interleave(programs, PAIRS)
        return [row(key, key, OURS, "hydra-submitit-launcher", measured)]


def _until_queued(slurm: Cluster, home: Path, python: Path, number: int) -> float:
    """Seconds until all jobs of Hydra's launcher stand in the queue; it blocks until they end, and is ended then."""
    app = Path(__file__).with_name("hydra_app.py")
    hold = "+hydra.launcher.additional_parameters.hold=true"
    ranks = f"rank=range({number * TRIALS + 1},{(number + 1) * TRIALS + 1})"
    command = [
        str(python),
        str(app),
        "-m",
        "hydra/launcher=submitit_slurm",
        hold,
        ranks,
        f"hydra.sweep.dir={home / 'hydra'}",
    ]
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=home, env={**os.environ, **slurm.env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait(lambda: _queued(slurm) >= TRIALS, process)
        return time.perf_counter() - start
    finally:
        process.kill()
        process.wait(timeout=10)
        _clear(slurm)


def _wait(done: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    deadline = time.perf_counter() + PATIENCE
    while not done():
        if process.poll() is not None or time.perf_counter() > deadline:
            raise RuntimeError(f"hydra-submitit-launcher has not queued {TRIALS} trials")
        time.sleep(0.1)


def _queued(slurm: Cluster) -> int:
    return len(slurm.run(["squeue", "--noheader", "--array", "--format=%i"]).stdout.split())


def _clear(slurm: Cluster) -> None:
    """End all jobs, and wait until they are gone: the next round must find an empty queue."""
    slurm.run(["scancel", "--user", "root"])
    deadline = time.perf_counter() + 120
    while _queued(slurm) and time.perf_counter() < deadline:
        time.sleep(0.2)
