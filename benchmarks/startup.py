"""Start of an attempt, as every requeue pays it, against a plain TRL script that begins with the same rows as text.

Ours counts from the start of `python -m trainer agent`, fresh and resumed from a checkpoint. The plain script counts
from its own start: with an empty cache of `datasets`, and with the one that its last start has left.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.pairs import PAIRS, Row, interleave, row
from benchmarks.training import environment
from conf.folder import RunFolder, write_json
from trainer.data.python_docs import python_docs

ROWS, LENGTH, MICRO, RANK, SEED = 6000, 256, 1, 8, 42
PREPARED = "prepared"
TOTAL = "start of an attempt to the end of its first step"
AFTER = "of that, what comes after the imports"
FRESH, RESUMED, COLD, WARM = "attempt", "resumed attempt", "plain TRL", "plain TRL, its rows in cache"
PHASES = ("agent", "imports", "rendezvous", "data", "model", "resume", "first step", TOTAL)
WHAT = (
    f"Start of an attempt by phase: SmolLM2-135M, LoRA, {ROWS} rows packed into {LENGTH} tokens, {MICRO} a step. An "
    "attempt starts with its agent, which starts the worker, reads rows and weights from the store and, resumed, "
    "verifies and loads a checkpoint; the plain script reads its rows as text, tokenises and packs them, which "
    "`datasets` keeps in its cache. Attaching the adapter and making TRL's trainer are a part of `model` in an attempt "
    "and of `data` in the script."
)
"""What the table of phases shows."""
EVENTS = {
    "imported": "imports", "rendezvoused": "rendezvous", "data_ready": "data", "model_loaded": "model",
    "resumed": "resume",
}  # fmt: skip


def rows(pairs: int = PAIRS) -> tuple[list[Row], list[list[str]]]:
    """The rows of the whole start and of what comes after the imports, and the table of phases in median seconds."""
    with tempfile.TemporaryDirectory() as name:
        bench = Starts(Path(name))
        bench.prepare()
        measured = interleave(
            [
                (FRESH, lambda number: bench.attempt(number, resume=False)),
                (COLD, lambda number: bench.plain(bench.home / f"cache-{number}")),
                (RESUMED, lambda number: bench.attempt(number, resume=True)),
                (WARM, lambda _: bench.plain(bench.home / "cache")),
            ],
            pairs,
        )
    table = [
        row(key, key, ours, other, measured) for key in (TOTAL, AFTER) for ours in (FRESH, RESUMED)
        for other in (COLD, WARM)
    ]  # fmt: skip
    return table, [[name, *phases(seconds)] for name, seconds in measured.items()]


def phases(measured: list[dict[str, float]]) -> list[str]:
    """Median seconds of each of PHASES; a dash where there is none."""
    found = {name: [seconds[name] for seconds in measured if name in seconds] for name in PHASES}
    return [f"{statistics.median(values):.2f}" if values else "-" for values in found.values()]


class Starts:
    """One prepared run and its rows as text, that all starts begin with."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.text = home / "rows.jsonl"

    def prepare(self) -> None:
        """A run through the launcher of two steps, with a checkpoint after the first."""
        write_rows(self.text)
        words = [
            "+model=smollm2_135m", "+cluster=local", f"name={PREPARED}", "data=file", f"data.path={self.text}",
            "data.packing=true", f"data.max_length={LENGTH}", f"batch.micro={MICRO}", "batch.accumulation=1",
            "method.max_steps=2", f"adapter.r={RANK}", f"seed={SEED}", "method.schedule=constant", "method.warmup=0",
            "evaluation.max_rows=0", "checkpoint.interval=1", "checkpoint.keep=2", "tracking=none",
        ]  # fmt: skip
        subprocess.run(
            [sys.executable, "-m", "launcher", *words], cwd=self.home, check=True, timeout=900, env=environment(),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def attempt(self, number: int, resume: bool) -> dict[str, float]:
        """Seconds of the phases of an attempt's start, from the start of its agent to the end of its first step."""
        source = RunFolder(self.home / "runs" / PREPARED)
        folder = RunFolder(self.home / "runs" / f"{'resumed' if resume else 'fresh'}-{number}")
        left = shutil.ignore_patterns("checkpoints", "adapter", "attempts", "result.json", "*.jsonl", ".*")
        shutil.copytree(source.path, folder.path, symlinks=True, ignore=left)
        folder.checkpoints.mkdir()
        folder.attempt_folder(1).mkdir(parents=True)
        if resume:
            first = "step-00000001"
            shutil.copytree(source.checkpoints / first, folder.checkpoints / first)
        else:
            write_json(folder.stop_file, {"reason": "stopped"})  # after the first step
        variables = {"SLURMWRIGHT_ATTEMPT": "1", "PYTHONPATH": str(folder.code), "PYTHONSAFEPATH": "1"}
        began = time.time()
        subprocess.run(
            [sys.executable, "-m", "trainer", "agent", str(folder.path)], cwd=folder.code, check=True, timeout=900,
            env=environment() | variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        return attempt_phases(folder, began)

    def plain(self, cache: Path) -> dict[str, float]:
        """Seconds of the phases of the plain script, with this folder for the cache of `datasets`."""
        source = RunFolder(self.home / "runs" / PREPARED)
        script = Path(__file__).with_name("plain_start.py")
        words = [source.manifest()["assets"]["model"]["path"], str(self.text), str(LENGTH), str(MICRO), str(RANK)]
        began = time.time()
        done = subprocess.run(
            [sys.executable, str(script), *words], cwd=self.home, check=True, timeout=900, capture_output=True,
            text=True, env=environment() | {"HF_DATASETS_CACHE": str(cache)},
        )  # fmt: skip
        ends: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
        found, before = {}, began
        for name, end in ends.items():
            found[name], before = end - before, end
        return found | {TOTAL: before - began, AFTER: before - ends["imports"]}


def attempt_phases(folder: RunFolder, began: float) -> dict[str, float]:
    """Seconds of each phase of a run folder's only attempt, whose agent began at `began` (seconds since the epoch)."""
    events = {event["event"]: event for event in folder.events()}
    found = {phase: float(events[name]["seconds"]) for name, phase in EVENTS.items() if name in events}
    imported = _time(events["imported"])
    end = _time(next(line for line in folder.metrics() if "loss" in line))
    agent = imported - found["imports"] - began
    rest = end - imported - sum(found.values()) + found["imports"]
    return {"agent": agent} | found | {"first step": rest, TOTAL: end - began, AFTER: end - imported}


def write_rows(path: Path) -> None:
    """Conversations of one turn and of two about Python's own library, in the form of chat messages."""
    turns = [[dict(message) for message in one.messages] for one in python_docs()[0]]
    lines = [turns[number % len(turns)] + turns[(number + 1) % len(turns)] * (number // len(turns)) for number in
             range(ROWS)]  # fmt: skip
    path.write_text("".join(json.dumps({"messages": line}) + "\n" for line in lines), encoding="utf-8")


def _time(line: dict[str, Any]) -> float:
    return datetime.fromisoformat(line["t"]).timestamp()
