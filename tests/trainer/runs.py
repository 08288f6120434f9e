"""Run folders of a tiny Llama made by hand, and worker processes started on them as the agent would."""

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import cache
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import yaml

from conf.folder import RunFolder, write_json
from conf.schema.derive import derive
from conf.schema.run import RunConfig
from tests.tiny import tiny_llama

ROOT = Path(__file__).parents[2]
SECONDS = 240.0


def prepared_rows(folder: Path, rows: int, held_out: int, packed: bool = False, seed: int = 0) -> Path:
    """Rows of different lengths (input_ids, labels, seq_lengths when packed) as `trainer prepare` writes them."""
    from datasets import Dataset

    dice = random.Random(seed)
    for part, count, pack in (("train", rows, packed), ("eval", held_out, False)):
        lines: list[dict[str, list[int]]] = []
        for _ in range(count):
            pieces = [dice.randint(6, 24) for _ in range(dice.randint(1, 3) if pack else 1)]
            ids = [
                4 + (start * 7 + place) % 40
                for length in pieces
                for start in [dice.randrange(40)]
                for place in range(length)
            ]
            prompt = dice.randint(1, 4)
            line = {"input_ids": ids, "labels": [-100] * prompt + ids[prompt:]}
            lines.append(line | {"seq_lengths": pieces} if pack else line)
        Dataset.from_list(lines).save_to_disk(str(folder / part))
    return folder


def make_run(
    root: Path, name: str, world: int = 1, packed: bool = False, rows: int = 24, tied: bool = False, **groups: Any
) -> RunFolder:
    """A run folder as the launcher freezes it, its assets prepared. `groups` are config groups, as adapter={"r": 4}.

    Model and rows are made once below `root` and shared by its runs."""
    store = root / "store"
    model = store / ("tied" if tied else "model")
    if not (model / "config.json").exists():
        tiny_llama(model)
        if tied:
            _tie(model)
    data = store / ("packed" if packed else "rows") / str(rows)
    if not (data / "train").exists():
        prepared_rows(data, rows, held_out=7, packed=packed)
    values: dict[str, Any] = {
        "model": {"id": str(model), "source": "folder"},
        "adapter": {"r": 4, "alpha": 8.0, "dropout": 0.0, "learning_rate": 5e-3},
        "data": {"source": "file", "path": str(data / "none.jsonl"), "packing": packed, "max_length": 128},
        "method": {"max_steps": 6, "warmup": 0.0},
        "batch": {"global": 4, "micro": 1},
        "cluster": {"kind": "local", "devices_per_node": world},
        "parallel": {"strategy": "ddp"},
        "checkpoint": {"interval": 2, "keep": 9},
        "tracking": {"name": "none"},
        "run": {"root": str(root)},
        "store": {"root": str(store)},
    }
    for group, fields in groups.items():
        values[group] = {**values.get(group, {}), **fields} if isinstance(fields, Mapping) else fields
    # As it is, not scaled to the tiny model's width.
    values["method"].setdefault("learning_rate", values["adapter"]["learning_rate"])
    config = derive(RunConfig.model_validate(values))
    folder = RunFolder(root / name)
    folder.attempts.mkdir(parents=True)
    folder.config_file.write_text(yaml.safe_dump(config.dump()), encoding="utf-8")
    write_json(folder.manifest_file, {"assets": {"model": {"path": str(model)}, "data": {"path": str(data)}}})
    return folder


def _tie(folder: Path) -> None:
    """Make the output layer the embedding itself."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(str(folder))
    model.config.tie_word_embeddings = True
    model.tie_weights()
    model.save_pretrained(str(folder))


def start_workers(folder: RunFolder, world: int = 1, attempt: int = 1) -> list[ForkServerProcess]:
    """One worker process a rank, with torch elastic's variables; their output goes to the attempt's folder.

    They are forked from a process that has imported the training stack once, and call what `python -m trainer worker`
    calls."""
    folder.attempt_folder(attempt).mkdir(exist_ok=True)
    workers = []
    environs = _environs(world, attempt)
    for rank, environ in enumerate(environs):
        log = folder.attempt_folder(attempt) / f"worker-{rank}.log"
        worker = _fork_server().Process(target=_work, args=(str(folder.path), environ, str(log)), daemon=True)
        worker.start()
        workers.append(worker)
    return workers


def wait(workers: list[ForkServerProcess], seconds: float = SECONDS) -> list[int | None]:
    """Exit codes, minus the signal's number for who was killed. Kills what has not ended in time: None."""
    deadline = time.monotonic() + seconds
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
    codes = [worker.exitcode for worker in workers]
    for worker in workers:
        worker.kill()
        worker.join()
    return codes


def train(folder: RunFolder, world: int = 1, attempt: int = 1) -> None:
    """Run all workers of one attempt to a good end. Raises AssertionError with their logs otherwise."""
    codes = wait(start_workers(folder, world, attempt))
    assert codes == [0] * world, f"exit codes {codes}\n{logs(folder, attempt)}"


def train_by_command(folder: RunFolder, attempt: int = 1) -> None:
    """One worker, through its command line."""
    folder.attempt_folder(attempt).mkdir(exist_ok=True)
    command = [sys.executable, "-m", "trainer", "worker", str(folder.path)]
    environ = os.environ | _environs(1, attempt)[0] | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


@cache
def _fork_server() -> ForkServerContext:
    # Read when libraries are imported, hence before the server starts.
    os.environ.update(
        {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    )
    context = get_context("forkserver")
    context.set_forkserver_preload(["trainer.training", "trainer.model", "datasets", "peft", "bitsandbytes"])
    return context


def _environs(world: int, attempt: int) -> list[dict[str, str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "SLURMWRIGHT_ATTEMPT": str(attempt),
        "OMP_NUM_THREADS": "1",
    }
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(world)]


def _work(folder: str, environ: dict[str, str], log: str) -> None:
    """In the forked process: the worker."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.environ.update(environ)
    from trainer.worker import main

    sys.exit(main([folder]))


def logs(folder: RunFolder, attempt: int = 1) -> str:
    """What the workers of an attempt have said."""
    files = sorted(folder.attempt_folder(attempt).glob("worker-*.log"))
    return "\n".join(f"--- {file.name}\n{file.read_text(errors='replace')}" for file in files)


def losses(folder: RunFolder) -> list[float]:
    """Training loss of every step, in order."""
    return [line["loss"] for line in folder.metrics() if "loss" in line]


def weights(folder: Path) -> dict[str, Any]:
    """All tensors of the safetensors files of a folder."""
    from safetensors.torch import load_file

    found: dict[str, Any] = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= load_file(file)
    return found


def token_mean(model: Any, rows: list[dict[str, Any]]) -> float:
    """Mean loss over the trained tokens of rows, each in a batch of its own, by transformers alone."""
    import torch

    total, tokens = 0.0, 0
    for row in rows:
        ids, labels = torch.tensor([row["input_ids"]]), torch.tensor([row["labels"]])
        count = int((labels[:, 1:] != -100).sum())
        with torch.no_grad():
            total += float(model(input_ids=ids, labels=labels).loss) * count
        tokens += count
    return total / tokens
