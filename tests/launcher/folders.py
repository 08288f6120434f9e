"""Run folders as they look at some moment, made without a launcher and a trainer."""

import json
from pathlib import Path
from typing import Any

import yaml

from conf.folder import RunFolder, append_line, write_json
from conf.schema.derive import derive
from conf.schema.run import RunConfig


def config(**groups: Any) -> RunConfig:
    """A derived config with these groups set."""
    return derive(RunConfig.model_validate({"model": {"id": "some/model", "name": "m"}, **groups}))


def run(root: Path, name: str = "mine", **groups: Any) -> RunFolder:
    """The folder of a run that was frozen and never started."""
    folder = RunFolder(root / name)
    for place in (folder.attempts, folder.code):
        place.mkdir(parents=True)
    folder.config_file.write_text(yaml.safe_dump(config(**groups).dump()))
    write_json(folder.manifest_file, {"run_id": name, "assets": {}})
    return folder


def submitted(folder: RunFolder, job_id: str = "1001") -> RunFolder:
    """The run was given to Slurm."""
    folder.append_event("submitted", len(folder.attempt_numbers()) + 1, job_id=job_id)
    return folder


def started(
    folder: RunFolder, number: int = 1, *, steps: int = 100, nodes: tuple[str, ...] = ("n1", "n2")
) -> RunFolder:
    """An attempt has begun, and trains."""
    folder.attempt_folder(number).mkdir()
    write_json(folder.attempt_folder(number) / "attempt.json", {"attempt": number, "nodes": nodes, "ended": None})
    for node in nodes:
        (folder.attempt_folder(number) / f"{node}.log").write_text(f"{node} says {number}\n")
    folder.append_event("started", number, nodes=list(nodes))
    folder.append_event("data_ready", number, steps=steps, rows=10)
    folder.append_event("evaluated", number, 0, eval_loss=4.0)
    return folder


def trained(folder: RunFolder, first: int, last: int, *, seconds: float = 0.5, tokens: int = 100) -> RunFolder:
    """Metrics of some steps; the loss falls by 0.01 a step from 3."""
    for step in range(first, last + 1):
        line = {"step": step, "loss": 3 - step / 100, "tokens": tokens, "seconds": seconds, "t": "9999-01-01T00:00:00"}
        append_line(folder.metrics_file, line)
    return folder


def ended(folder: RunFolder, number: int, cause: str, message: str = "") -> RunFolder:
    """An attempt has ended, without a result."""
    file = folder.attempt_folder(number) / "attempt.json"
    values = json.loads(file.read_text())
    write_json(file, values | {"ended": "2026-01-01T00:00:00", "cause": cause, "message": message})
    return folder


def result(folder: RunFolder, status: str, **more: Any) -> RunFolder:
    """The run has come to an end."""
    write_json(folder.result_file, {"status": status, "cause": status, "step": 100, **more})
    return folder


def squeue_line(folder: RunFolder, job_id: str, state: str, reason: str = "None", start: str = "N/A") -> str:
    """One line of squeue in the format that the launcher asks for."""
    return "\x1f".join((job_id, state, reason, start, "", str(folder.code), folder.id)) + "\n"
