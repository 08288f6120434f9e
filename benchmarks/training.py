"""Step time and start of a worker, against a plain TRL script and a plain PyTorch loop on the same model and rows."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.pairs import PAIRS, Row, interleave, row
from conf.folder import RunFolder

HERE = Path(__file__).parent
MICRO, ACCUMULATION, STEPS, RANK, LENGTH, SEED = 2, 1, 8, 8, 128, 42
PREPARED = "prepared"
PHASES = ("imported", "rendezvoused", "model_loaded", "data_ready")


STEP, START = "step of SmolLM2-135M, LoRA, CPU", "start to the end of the first step"


def rows(pairs: int = PAIRS) -> tuple[list[Row], list[list[str]]]:
    """The rows of step time and of the start, and the table of phases (phase, median seconds, of the whole)."""
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        bench.prepare()
        bench.lay_out_rows()
        measured = interleave(
            [
                ("worker", bench.worker),
                ("plain TRL", lambda _: bench.plain("plain_trl.py")),
                ("plain PyTorch", lambda _: bench.plain("plain_torch.py")),
            ],
            pairs,
        )
        table = [row(STEP, "step_seconds", "worker", name, measured) for name in ("plain TRL", "plain PyTorch")]
        return [*table, row(START, "to_first_step", "worker", "plain TRL", measured)], bench.phase_table()


class Bench:
    """One prepared model and set of rows that all programs train on."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.rows = home / "rows"
        self.phases: list[dict[str, float]] = []
        self.assets: dict[str, Any] = {}

    def prepare(self) -> None:
        """A run through the launcher, whose frozen folder and assets the others start from."""
        words = [
            "+model=smollm2_135m", "+cluster=local", f"name={PREPARED}", f"batch.micro={MICRO}",
            f"batch.accumulation={ACCUMULATION}", f"method.max_steps={STEPS}", f"adapter.r={RANK}",
            f"data.max_length={LENGTH}", f"seed={SEED}", "method.schedule=constant", "method.warmup=0",
            "evaluation.max_rows=0", "checkpoint.interval=null", "tracking=none",
        ]  # fmt: skip
        subprocess.run(
            [sys.executable, "-m", "launcher", *words], cwd=self.home, check=True, timeout=900, env=environment(),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.assets = RunFolder(self.home / "runs" / PREPARED).manifest()["assets"]

    def lay_out_rows(self) -> None:
        """Save the rows in the order in which the worker takes them, for the alternatives to read one after another."""
        from datasets import load_from_disk

        from trainer.order import Order

        rows = load_from_disk(str(Path(self.assets["data"]["path"]) / "train"))
        taken = list(Order(len(rows), MICRO * ACCUMULATION * STEPS, SEED))
        rows.select(taken).select_columns(["input_ids", "labels"]).save_to_disk(str(self.rows))

    def worker(self, number: int) -> dict[str, float]:
        """Median seconds of a step without the first two, and from the worker's start to the end of its first step.

        The worker runs as its agent starts it, without launcher and agent beside it: the alternatives have none."""
        folder = RunFolder(self.home / "runs" / f"round-{number}")
        left = shutil.ignore_patterns("checkpoints", "adapter", "attempts", "result.json", "*.jsonl", ".*")
        shutil.copytree(self.home / "runs" / PREPARED, folder.path, symlinks=True, ignore=left)
        folder.attempt_folder(1).mkdir(parents=True)
        folder.checkpoints.mkdir()
        world = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1", "SLURMWRIGHT_ATTEMPT": "1"}
        places = {"PYTHONPATH": str(folder.code), "PYTHONSAFEPATH": "1"}
        subprocess.run(
            [sys.executable, "-m", "trainer", "worker", str(folder.path)], cwd=folder.code, check=True, timeout=900,
            env=environment() | world | places, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        events = {line["event"]: line for line in folder.events()}
        steps = [line for line in folder.metrics() if "loss" in line]
        phases = {phase: float(events[phase]["seconds"]) for phase in PHASES}
        began = datetime.fromisoformat(events["imported"]["t"]).timestamp() - phases["imported"]
        whole = datetime.fromisoformat(steps[0]["t"]).timestamp() - began
        self.phases.append(phases | {"first step": float(steps[0]["seconds"]), "whole": whole})
        return {
            "step_seconds": statistics.median(float(line["seconds"]) for line in steps[2:]),
            "to_first_step": whole,
        }

    def phase_table(self) -> list[list[str]]:
        """Rows of phase, median seconds, share of the whole start."""
        whole = statistics.median(phases["whole"] for phases in self.phases)
        table = []
        for name in self.phases[0]:
            seconds = statistics.median(phases[name] for phases in self.phases)
            table.append([name, f"{seconds:.2f}", f"{seconds / whole:.0%}"])
        return table

    def plain(self, script: str) -> dict[str, float]:
        """What an alternative's script printed."""
        arguments = [self.assets["model"]["path"], str(self.rows)]
        numbers = [str(number) for number in (MICRO, ACCUMULATION, STEPS, RANK)]
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
