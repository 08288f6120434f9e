"""The run folder: the only interface between launcher and trainer. Every name in it is said here, once."""

import errno
import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from conf.schema.run import RunConfig

Event = Literal[
    "submitted", "started", "imported", "rendezvoused", "model_loaded", "data_ready", "step", "checkpoint_started",
    "checkpoint_committed", "checkpoint_skipped", "checkpoint_failed", "interval_chosen", "signal", "preempted",
    "timed_out", "requeued", "resumed", "evaluated", "stalled", "node_lost", "node_excluded", "network_attempt",
    "scratch", "stopped", "cancelled", "pruned", "finished", "failed",
]  # fmt: skip
Status = Literal["completed", "failed", "cancelled", "stopped", "pruned"]
Cause = Literal[
    "completed", "preempted", "time_limit", "cancelled", "stopped", "pruned", "worker_crash", "worker_killed",
    "out_of_memory", "stalled", "node_failure", "network", "launch_failed", "disk_full", "unknown",
]  # fmt: skip
GoesOn = Literal["requeue", "singleton chain", "not known"]
"""How an interrupted run goes on at its site. not known: a requeue is tried, and where it is refused a chain."""
FINAL: tuple[str, ...] = get_args(Status)
ROOMS = ("conf", "launcher", "trainer", "sweeps", "slurm_templates")
"""What is copied into a run's code folder."""


class RunFolder:
    """Paths of one run, and the few safe ways of writing there."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self.config_file = self.path / "config.yaml"
        self.overrides_file = self.path / "overrides.yaml"
        self.manifest_file = self.path / "manifest.json"
        self.plan_file = self.path / "plan.json"
        self.code = self.path / "code"
        self.script = self.path / "job.sbatch"
        self.attempts = self.path / "attempts"
        self.events_file = self.path / "events.jsonl"
        self.metrics_file = self.path / "metrics.jsonl"
        self.tensorboard = self.path / "tensorboard"
        self.tracking = self.path / "tracking"
        self.checkpoints = self.path / "checkpoints"
        self.adapter = self.path / "adapter"
        self.model = self.path / "model"
        self.result_file = self.path / "result.json"
        self.stop_file = self.path / "stop"
        self.save_file = self.path / "save"

    @property
    def id(self) -> str:
        """The run's id: the folder's name."""
        return self.path.name

    def config(self) -> RunConfig:
        """The frozen config, with the newest attempt's operational fields.

        Raises FileNotFoundError where there is no run, pydantic.ValidationError where it was edited wrongly."""
        return RunConfig.model_validate(yaml.load(self.config_file.read_bytes(), Loader=yaml.CSafeLoader))

    def manifest(self) -> dict[str, Any]:
        """manifest.json, {} where there is none yet."""
        return read_json(self.manifest_file)

    def result(self) -> dict[str, Any]:
        """result.json, {} while the run is not finished."""
        return read_json(self.result_file)

    @property
    def goes_on(self) -> GoesOn:
        """How the run goes on after an interruption, as its plan says."""
        said = read_json(self.plan_file).get("site", {}).get("goes_on")
        return said if said in get_args(GoesOn) else "not known"

    @property
    def site_history(self) -> tuple[int, float]:
        """Losses of nodes that the submitter's jobs had seen at this site, and their node-hours, as the plan says."""
        said = read_json(self.plan_file).get("site", {}).get("history") or {}
        return int(said.get("node_failures", 0)), float(said.get("node_hours", 0.0))

    def events(self) -> list[dict[str, Any]]:
        """All complete lines of events.jsonl, in order of writing."""
        return read_lines(self.events_file)

    def metrics(self) -> list[dict[str, Any]]:
        """All complete lines of metrics.jsonl, in order of writing."""
        return read_lines(self.metrics_file)

    def attempt_folder(self, number: int) -> Path:
        """attempts/0001 for number 1."""
        return self.attempts / f"{number:04d}"

    def attempt_numbers(self) -> list[int]:
        """Numbers of the attempts that have begun, ascending."""
        if not self.attempts.is_dir():
            return []
        return sorted(int(child.name) for child in self.attempts.iterdir() if child.name.isdigit())

    def append_event(self, event: Event, attempt: int, step: int | None = None, **more: Any) -> None:
        """Add one line to events.jsonl."""
        line: dict[str, Any] = {"t": now(), "event": event, "attempt": attempt}
        if step is not None:
            line["step"] = step
        append_line(self.events_file, line | more)


def now() -> str:
    """The present time as ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def append_line(path: Path, line: dict[str, Any]) -> None:
    """Append one JSON line in one write, so that lines of several processes never mix.

    Raises OSError where the disk is full, which cuts a line in two; the next one then begins below it."""
    data = (json.dumps(line, ensure_ascii=False) + "\n").encode()
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            data = b"\n" + data
        if os.write(handle, data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(handle)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The complete JSON lines of a file; a last line still being written is left out, and so is one that a full disk
    has cut; [] where there is no file."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    lines = []
    for line in text.split("\n")[:-1]:
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file, {} where there is none."""
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return value


def write_whole(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file so that readers see the old text or the new one, never a part, even after a power cut."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write a JSON document whole."""
    write_whole(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
