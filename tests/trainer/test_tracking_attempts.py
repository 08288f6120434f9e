"""Curves over attempts: a run that was told to leave, then killed, and then finished is one run with each step once."""

import json
import os
import signal
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conf.folder import RunFolder
from tests.trainer.agents import until
from tests.trainer.runs import logs, losses, make_run, start_workers, train, wait

pytestmark = pytest.mark.train

STEPS = 40
Points = list[tuple[int, float]]


def interrupt(folder: RunFolder, attempt: int, steps: int, number: signal.Signals) -> None:
    """One attempt that ends by a signal after so many more steps."""
    before = len(losses(folder))
    [worker] = start_workers(folder, 1, attempt)
    assert worker.pid is not None
    until(lambda: len(losses(folder)) >= before + steps or not worker.is_alive(), f"step {before + steps}")
    os.kill(worker.pid, signal.SIGSTOP)
    os.kill(worker.pid, number)
    os.kill(worker.pid, signal.SIGCONT)
    [code] = wait([worker])
    assert code == (-signal.SIGKILL if number == signal.SIGKILL else 0), logs(folder, attempt)
    assert not folder.result()


def mlflow_points(folder: RunFolder, name: str) -> Points:
    from mlflow import MlflowClient

    client = MlflowClient((folder.tracking / "mlruns").as_uri())
    [run] = client.search_runs([client.get_experiment_by_name("slurmwright").experiment_id])
    return [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)]


def tensorboard_points(folder: RunFolder, name: str) -> Points:
    from tensorboard.backend.event_processing.event_accumulator import (  # it has no types
        EventAccumulator,
    )

    board = EventAccumulator(str(folder.tensorboard)).Reload()
    return [(point.step, point.value) for point in board.Scalars(name)]


def wandb_records(file: Path) -> Iterator[bytes]:
    """The records of a .wandb file: a log of LevelDB's form (blocks of 32 KiB that cut records) after seven bytes of
    its own."""
    data, place, record = file.read_bytes(), 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        size, kind = struct.unpack_from("<HB", data, place + 4)
        record += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last piece
            yield record
            record = b""


def wandb_points(folder: RunFolder, name: str) -> Points:
    from wandb.proto import wandb_internal_pb2

    points = []
    for file in sorted(folder.tracking.glob("wandb/offline-run-*/run-*.wandb"), key=lambda file: file.parent.name):
        assert file.stem == f"run-{folder.id}"
        for data in wandb_records(file):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            items = record.history.item
            values = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
            if name in values:
                points.append((int(values["step"]), float(values[name])))
    return points


@pytest.mark.parametrize(
    ("name", "read"), [("tensorboard", tensorboard_points), ("mlflow", mlflow_points), ("wandb", wandb_points)]
)
def test_attempts_are_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, read: Callable[[RunFolder, str], Points]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # to read what was written
    folder = make_run(
        tmp_path, name, tracking={"name": name}, method={"max_steps": STEPS}, checkpoint={"interval": 5},
        evaluation={"max_rows": 0},
    )  # fmt: skip
    interrupt(folder, 1, 3, signal.SIGUSR2)
    first = len(losses(folder))
    interrupt(folder, 2, 8, signal.SIGKILL)
    killed = range(first + 1, len(losses(folder)) + 1)  # no step is undone yet
    train(folder, attempt=3)
    made = [line["step"] for line in folder.metrics() if "loss" in line]
    assert len(made) > len(set(made)), "the kill has undone a step"
    expected = {line["step"]: line["loss"] for line in folder.metrics() if "loss" in line}
    points = read(folder, "train/loss")
    steps = [step for step, _ in points]
    if name == "wandb":
        # Its own process dies with a killed worker, and what it had not written is lost; all else is there, in order.
        assert set(expected) - set(steps) <= set(killed)
        assert steps[:first] == list(range(1, first + 1)) and steps[-1] == STEPS
    else:
        assert steps == sorted(expected)
    assert [value for _, value in points] == pytest.approx([expected[step] for step in steps])
    tokens, seconds = ([value for _, value in read(folder, f"progress/{unit}")] for unit in ("tokens", "seconds"))
    assert tokens == sorted(tokens) and tokens[-1] == folder.result()["tokens"]
    spent = sum(line["seconds"] for line in folder.metrics() if "loss" in line)
    assert seconds == sorted(seconds) and seconds[-1] == pytest.approx(spent, abs=0.1)
