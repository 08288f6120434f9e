"""Step time and start of a worker, against a plain TRL script and a plain PyTorch loop on the same model and rows."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.pairs import PAIRS, Row, compare
from conf.folder import RunFolder

HERE = Path(__file__).parent
MICRO, ACCUMULATION, STEPS, RANK, LENGTH = 2, 1, 10, 8, 128
PHASES = ("imported", "rendezvoused", "model_loaded", "data_ready")


def rows(pairs: int = PAIRS) -> tuple[list[Row], list[list[str]]]:
    """The rows of step time and of the start, and the table of phases (phase, median seconds, of the whole)."""
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        bench.train(0)
        steps = compare(
            "step of SmolLM2-135M, LoRA, CPU",
            ("worker", bench.step_seconds),
            [
                ("plain TRL", lambda _: bench.plain("plain_trl.py")["step_seconds"]),
                ("plain PyTorch", lambda _: bench.plain("plain_torch.py")["step_seconds"]),
            ],
            pairs,
        )
        bench.phases.clear()
        starts = compare(
            "start to the end of the first step",
            ("worker", bench.start_seconds),
            [("plain TRL", lambda _: bench.plain("plain_trl.py", steps=3)["to_first_step"])],
            pairs,
        )
        return steps + starts, bench.phase_table()


class Bench:
    """One prepared model and set of rows that all programs train on."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.phases: list[dict[str, float]] = []
        self.assets: dict[str, Any] = {}

    def train(self, number: int, steps: int = STEPS) -> RunFolder:
        """A run through the launcher; each number is a run of its own."""
        words = [
            "+model=smollm2_135m", "+cluster=local", f"name=r{number}-{steps}", f"batch.micro={MICRO}",
            f"batch.accumulation={ACCUMULATION}", f"method.max_steps={steps}", f"adapter.r={RANK}",
            f"data.max_length={LENGTH}", "method.schedule=constant", "method.warmup=0", "evaluation.max_rows=0",
            "checkpoint.interval=null", "tracking=none",
        ]  # fmt: skip
        subprocess.run(
            [sys.executable, "-m", "launcher", *words], cwd=self.home, check=True, timeout=900, env=environment(),
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        folder = RunFolder(self.home / "runs" / f"r{number}-{steps}")
        self.assets = folder.manifest()["assets"]
        return folder

    def step_seconds(self, number: int) -> float:
        """Median seconds of a step of the worker, without the first two."""
        folder = self.train(100 + number)
        return statistics.median([float(line["seconds"]) for line in folder.metrics() if "loss" in line][2:])

    def start_seconds(self, number: int) -> float:
        """Seconds from the worker's start to the end of its first step."""
        folder = self.train(200 + number, steps=3)
        events = {line["event"]: line for line in folder.events()}
        first = next(line for line in folder.metrics() if "loss" in line)
        phases = {phase: float(events[phase]["seconds"]) for phase in PHASES}
        began = datetime.fromisoformat(events["imported"]["t"]).timestamp() - phases["imported"]
        whole = datetime.fromisoformat(first["t"]).timestamp() - began
        self.phases.append(phases | {"first step": float(first["seconds"]), "whole": whole})
        return whole

    def phase_table(self) -> list[list[str]]:
        """Rows of phase, median seconds, share of the whole start."""
        whole = statistics.median(phases["whole"] for phases in self.phases)
        table = []
        for name in self.phases[0]:
            seconds = statistics.median(phases[name] for phases in self.phases)
            table.append([name, f"{seconds:.2f}", f"{seconds / whole:.0%}"])
        return table

    def plain(self, script: str, steps: int = STEPS) -> dict[str, float]:
        """What an alternative's script printed."""
        arguments = [self.assets["model"]["path"], str(Path(self.assets["data"]["path"]) / "train")]
        numbers = [str(number) for number in (MICRO, ACCUMULATION, steps, RANK)]
        done = subprocess.run(
            [sys.executable, str(HERE / script), *arguments, *numbers], cwd=self.home, check=True, timeout=900,
            capture_output=True, text=True, env=environment(),
        )  # fmt: skip
        result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
        return result


def environment() -> dict[str, str]:
    """The same threads and no hub for every program."""
    threads = str(len(os.sched_getaffinity(0)))
    return {**os.environ, "OMP_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
