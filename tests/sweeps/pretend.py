"""A trainer that takes no time, as `site.python` of a run: its losses follow from learning rate, rank and step.

It keeps the run folder's rules: evaluates each evaluation.interval steps, obeys RUN/stop, saves where it leaves, goes
on from there. PRETEND_SLEEP: seconds a step. PRETEND_FAIL: every run fails at its first step."""

import math
import os
import signal
import sys
import time
from typing import Any

from conf.folder import RunFolder, append_line, now, read_json, write_json
from conf.schema.run import RunConfig


def loss_of(config: RunConfig, step: int) -> float:
    """Falls with the steps; lowest at a learning rate of 1e-2, and a little at rank 8."""
    assert config.method.learning_rate is not None and config.method.max_steps is not None
    rank = config.adapter.r if config.adapter.is_peft else 1
    floor = 1 + 0.3 * (math.log10(config.method.learning_rate) + 2) ** 2 + 0.05 * abs(math.log2(rank) - 3)
    return floor + 3 * math.exp(-3 * step / config.method.max_steps)


def main(run: str) -> int:
    """Train one attempt. Gives the exit code."""
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    folder, attempt = RunFolder(run), int(os.environ["SLURMWRIGHT_ATTEMPT"])
    config = folder.config()
    assert config.method.max_steps is not None
    step = max((int(path.name.rpartition("-")[2]) for path in folder.checkpoints.glob("step-*")), default=0)
    record: dict[str, Any] = {"attempt": attempt, "nodes": ["here"], "started": now(), "ended": None, "first": step}
    write_json(folder.attempt_folder(attempt) / "attempt.json", record | {"operational": {}})
    folder.append_event("started", attempt, step, nodes=["here"])
    while step < config.method.max_steps:
        time.sleep(float(os.environ.get("PRETEND_SLEEP", "0")))
        if told:
            (folder.checkpoints / f"step-{step:08d}").mkdir(exist_ok=True)
            return end(folder, record, None, step)
        if os.environ.get("PRETEND_FAIL"):
            return end(folder, record, "failed", step)
        step += 1
        append_line(folder.metrics_file, {"step": step, "loss": loss_of(config, step), "attempt": attempt, "t": now()})
        if step % (config.evaluation.interval or config.method.max_steps) == 0 or step == config.method.max_steps:
            append_line(folder.metrics_file, {"step": step, "eval_loss": loss_of(config, step), "t": now()})
        asked = read_json(folder.stop_file)
        if asked and step >= asked.get("step", 0) and step < config.method.max_steps:
            (folder.checkpoints / f"step-{step:08d}").mkdir(exist_ok=True)
            folder.stop_file.unlink()
            return end(folder, record, asked["reason"], step)
    return end(folder, record, "completed", step)


def end(folder: RunFolder, record: dict[str, Any], status: str | None, step: int) -> int:
    """The records of an end; no status where the run is to go on."""
    write_json(folder.attempt_folder(record["attempt"]) / "attempt.json", record | {"ended": now(), "cause": status})
    if status is None:
        return 128 + signal.SIGTERM
    loss = loss_of(folder.config(), step)
    result = {"status": status, "cause": "worker_crash" if status == "failed" else status, "message": "as asked"}
    more = {} if status == "failed" else {"eval_loss": loss, "train_loss": loss, "tokens_per_second": 100.0 - loss}
    write_json(folder.result_file, result | {"step": step} | more)
    return 4 if status == "failed" else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[-1]))
