"""Checkpoints that are written behind training: nothing leaks into them, one at a time, none forgotten, none half."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from conf.folder import RunFolder, read_json
from tests.trainer.runs import logs, losses, make_run, start_workers, train, wait, weights
from trainer import checkpoint

pytestmark = pytest.mark.train

FULL = {"kind": "full", "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("saving")


def full(root: Path, name: str, steps: int = 6, world: int = 1, every: Any = 2, **groups: Any) -> RunFolder:
    settings = {"interval": every, "keep": 9, **groups.pop("checkpoint", {})}
    method = {"max_steps": steps, **groups.pop("method", {})}
    batch = {"global": 2 * world, "micro": 1}
    none: dict[str, Any] = {"evaluation": {"max_rows": 0}}
    return make_run(
        root, name, world, adapter=FULL, method=method, batch=batch, checkpoint=settings, **none | groups
    )  # fmt: skip


def told(folder: RunFolder, *names: str) -> list[tuple[str, int]]:
    return [(event["event"], event["step"]) for event in folder.events() if event["event"] in names]


def until(true: Callable[[], bool], folder: RunFolder) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline, logs(folder)
        time.sleep(0.01)


def gate(folder: RunFolder, step: int) -> Path:
    """A file of the checkpoint of `step` that cannot be written before somebody reads it. It lies behind a link, which
    a new attempt does not clear away."""
    place = folder.path / f"slow-{step}" / f"checkpoint-{step}"
    place.mkdir(parents=True)
    os.mkfifo(place / "config.json")
    folder.checkpoints.mkdir(exist_ok=True)
    checkpoint.partial_folder(folder.checkpoints, step).symlink_to(place.parent)
    return place / "config.json"


def same(mine: Path, theirs: Path) -> None:
    found, expected = weights(mine), weights(theirs)
    assert found.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


@pytest.mark.parametrize(("strategy", "world"), [("ddp", 1), ("ddp", 2), ("fsdp2", 2)])
def test_what_is_written_behind_training_is_what_is_written_in_one_go(root: Path, strategy: str, world: int) -> None:
    layout = {"parallel": {"strategy": strategy}}
    made = {}
    for asynchronous in (None, False):
        folder = full(
            root, f"{strategy}-{world}-{asynchronous}", 5, world, **layout,
            checkpoint={"asynchronous": asynchronous},
        )  # fmt: skip
        train(folder, world)
        made[asynchronous] = folder
    behind, plain = made[None], made[False]
    assert losses(behind) == losses(plain)
    same(behind.model, plain.model)
    for step in (2, 4, 5):
        name = checkpoint.name_of(step)
        found, expected = (
            json.loads((folder.checkpoints / name / "digests.json").read_text()) for folder in (behind, plain)
        )
        assert found.keys() == expected.keys() and "training_args.bin" not in found
        # Times differ, and the index of shards has a random number.
        differ = {file for file in expected if found[file] != expected[file]}
        assert {Path(file).name for file in differ} <= {"resume.json", ".metadata"}
    for event in behind.events() + plain.events():
        if event["event"] == "checkpoint_committed":
            assert 0 <= event["stall"] <= event["seconds"]
    assert behind.result()["checkpoints"]["count"] == 3


def test_steps_go_on_while_one_is_written_and_the_next_waits_for_it(root: Path) -> None:
    folder = full(root, "slow")
    gates = {step: gate(folder, step) for step in (2, 6)}
    workers = start_workers(folder)
    until(lambda: len(losses(folder)) == 4, folder)
    assert told(folder, "checkpoint_started", "checkpoint_committed") == [("checkpoint_started", 2)]
    assert checkpoint.committed(folder.checkpoints) == []
    gates[2].read_text()
    until(lambda: ("checkpoint_started", 6) in told(folder, "checkpoint_started"), folder)
    assert not folder.result() and not folder.model.exists()
    gates[6].read_text()
    assert wait(workers) == [0], logs(folder)
    assert told(folder, "checkpoint_started", "checkpoint_committed", "finished") == [
        (name, step) for step in (2, 4, 6) for name in ("checkpoint_started", "checkpoint_committed")
    ] + [("finished", 6)]


def test_killed_while_one_is_written(root: Path) -> None:
    whole, folder = full(root, "not-killed"), full(root, "killed")
    train(whole)
    gate(folder, 4)
    workers = start_workers(folder)
    until(lambda: len(losses(folder)) == 5, folder)
    workers[0].kill()
    assert wait(workers) == [-signal.SIGKILL]
    assert [path.name for path in checkpoint.committed(folder.checkpoints)] == ["step-00000002"]
    checkpoint.partial_folder(folder.checkpoints, 4).unlink()
    train(folder, attempt=2)
    assert told(folder, "resumed") == [("resumed", 2)]
    same(folder.model, whole.model)


def test_a_notice_while_one_is_written_waits_for_it_and_saves_the_present_step(root: Path) -> None:
    folder = full(root, "notice", steps=40, every=10)
    slow = gate(folder, 10)
    workers = start_workers(folder)
    until(lambda: len(losses(folder)) > 10, folder)
    pid = workers[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGUSR2)
    slow.read_text()
    assert wait(workers) == [0], logs(folder)
    left = read_json(folder.attempt_folder(1) / "left.json")["step"]
    committed = [checkpoint.step_of(path) for path in checkpoint.committed(folder.checkpoints)]
    assert committed == [10, left] and 10 < left <= 20
    assert len(losses(folder)) == left


@pytest.mark.parametrize("asynchronous", [None, False])
def test_a_full_disk_is_not_lost(root: Path, asynchronous: bool | None) -> None:
    folder = full(root, f"full-disk-{asynchronous}", steps=200, checkpoint={"asynchronous": asynchronous})
    place = folder.path / "slow" / "checkpoint-2"
    place.mkdir(parents=True)
    (place / "config.json").symlink_to("/dev/full")
    folder.checkpoints.mkdir()
    checkpoint.partial_folder(folder.checkpoints, 2).symlink_to(place.parent)
    assert wait(start_workers(folder)) == [1]
    [failed] = [event for event in folder.events() if event["event"] == "checkpoint_failed"]
    assert failed["step"] == 2 and "No space left" in failed["why"]
    assert read_json(folder.attempt_folder(1) / "failure-0.json")["cause"] == "disk_full"
    assert len(losses(folder)) <= 4 and checkpoint.committed(folder.checkpoints) == []


def test_copies_share_nothing_with_what_goes_on(root: Path) -> None:
    from trainer.snapshot import host_copy

    weight = torch.nn.Linear(3, 3, bias=False).weight
    state: dict[str, Any] = {
        "a": weight,
        "tied": weight.detach(),
        "moments": [{"step": torch.tensor(1.0)}],
        "betas": (0.9, 0.95),
    }
    kept = weight.detach().clone()
    copied = host_copy(state)
    with torch.no_grad():
        weight.add_(1)
    state["moments"][0]["step"] += 1
    assert torch.equal(copied["a"], kept) and copied["a"] is copied["tied"]
    assert copied["moments"][0]["step"] == 1 and copied["betas"] == (0.9, 0.95)
