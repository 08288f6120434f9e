"""A run that was interrupted ends with the very weights of one that was not: dropout on, accumulation 2."""

import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from conf.folder import RunFolder, read_json, write_json
from tests.trainer.runs import logs, losses, make_run, start_workers, train, wait, weights
from trainer import checkpoint

pytestmark = pytest.mark.train

WORLDS = {
    "ddp-1": ("ddp", 1),
    "ddp-2": ("ddp", 2),
    # Of more than two numbers the sum depends on their order.
    "ddp-4": ("ddp", 4),
    "fsdp2-2": ("fsdp2", 2),
    "zero3-2": ("zero3", 2),
}


def make(root: Path, name: str, layout: str, **groups: Any) -> RunFolder:
    strategy, world = WORLDS[layout]
    return make_run(
        root,
        name,
        world=world,
        parallel={"strategy": strategy},
        adapter={"dropout": 0.2},
        batch={"global": 2 * world, "micro": 1},
        method={"max_steps": 8},
        checkpoint={"interval": 3, "keep": 9},
        **groups,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunFolder]:
    """Runs that nothing interrupted, made as they are needed."""
    return {"root": RunFolder(tmp_path_factory.mktemp("resume"))}


def uninterrupted(whole: dict[str, RunFolder], layout: str) -> RunFolder:
    if layout not in whole:
        whole[layout] = make(whole["root"].path, f"whole-{layout}", layout)
        train(whole[layout], WORLDS[layout][1])
    return whole[layout]


def same(mine: RunFolder, theirs: RunFolder) -> None:
    found, expected = weights(mine.adapter), weights(theirs.adapter)
    assert found.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []
    assert any(tensor.abs().sum() > 0 for name, tensor in expected.items() if "lora_B" in name)


@pytest.mark.parametrize("layout", WORLDS)
def test_stopped_and_resumed_is_bit_identical(whole: dict[str, RunFolder], layout: str) -> None:
    world = WORLDS[layout][1]
    reference = uninterrupted(whole, layout)
    folder = make(whole["root"].path, f"stopped-{layout}", layout)
    write_json(folder.stop_file, {"reason": "stopped"})
    train(folder, world)
    assert (folder.result()["status"], folder.result()["step"]) == ("stopped", 1)
    assert [event["event"] for event in folder.events()][-1] == "stopped"
    assert not folder.adapter.exists() and not folder.stop_file.exists()
    [saved] = checkpoint.committed(folder.checkpoints)
    assert checkpoint.step_of(saved) == 1
    assert len(list(saved.glob("rng_state*.pth"))) == world

    config = folder.config()
    config.checkpoint.interval, config.evaluation.interval = 2, 5
    folder.config_file.write_text(yaml.safe_dump(config.dump()), encoding="utf-8")
    train(folder, world, attempt=2)
    saved_at = [event["step"] for event in folder.events() if event["event"] == "checkpoint_committed"]
    assert saved_at == [1, 2, 4, 6, 8]
    (resumed,) = [event for event in folder.events() if event["event"] == "resumed"]
    assert (resumed["step"], resumed["path"]) == (1, str(saved)) and resumed["seconds"] > 0
    assert losses(folder) == losses(reference)
    result = folder.result()
    assert (result["status"], result["step"], result["attempts"]) == ("completed", 8, 2)
    assert result["eval_loss_before"] == reference.result()["eval_loss_before"]
    assert result["eval_loss"] == reference.result()["eval_loss"]
    assert result["tokens"] == reference.result()["tokens"]
    same(folder, reference)


def test_another_layout_cannot_go_on(whole: dict[str, RunFolder]) -> None:
    folder = RunFolder(whole["root"].path / "other-layout")
    shutil.copytree(uninterrupted(whole, "ddp-1").path, folder.path)
    folder.result_file.unlink()
    config = folder.config()
    config.parallel.strategy = "fsdp2"
    folder.config_file.write_text(yaml.safe_dump(config.dump()), encoding="utf-8")
    assert wait(start_workers(folder, attempt=2)) == [1]
    assert "use parallel=ddp" in read_json(folder.attempt_folder(2) / "failure-0.json")["message"]


def test_pruned_says_so(whole: dict[str, RunFolder]) -> None:
    folder = make(whole["root"].path, "pruned", "ddp-1")
    write_json(folder.stop_file, {"reason": "pruned"})
    train(folder)
    assert (folder.result()["status"], folder.result()["cause"]) == ("pruned", "pruned")
    assert [event["event"] for event in folder.events()][-1] == "pruned"


def test_a_run_that_died_before_its_last_words_and_a_damaged_checkpoint(whole: dict[str, RunFolder]) -> None:
    reference = uninterrupted(whole, "ddp-1")
    folder = RunFolder(whole["root"].path / "damaged")
    shutil.copytree(reference.path, folder.path)
    folder.result_file.unlink()
    shutil.rmtree(folder.adapter)
    train(folder, attempt=2)
    assert [event["step"] for event in folder.events() if event["event"] == "resumed"] == [8]
    assert folder.result()["eval_loss"] == reference.result()["eval_loss"]
    same(folder, reference)

    folder.result_file.unlink()
    harmed = folder.checkpoints / checkpoint.name_of(8) / "optimizer.pt"
    harmed.write_bytes(harmed.read_bytes()[:-1])
    half = checkpoint.partial_folder(folder.checkpoints, 9)
    half.mkdir()

    train(folder, attempt=3)
    [skipped] = [event for event in folder.events() if event["event"] == "checkpoint_skipped"]
    assert "optimizer.pt has changed" in skipped["why"] and ".damaged-step-00000008" in skipped["path"]
    assert Path(skipped["path"]).is_dir() and not half.exists()
    assert [event["step"] for event in folder.events() if event["event"] == "resumed"] == [8, 6]
    same(folder, reference)


def test_killed_and_resumed_is_bit_identical(whole: dict[str, RunFolder]) -> None:
    groups: dict[str, Any] = {"evaluation": {"max_rows": 0}}
    root = whole["root"].path
    slow: dict[str, Any] = {
        "method": {"max_steps": 30},
        "checkpoint": {"interval": 3, "keep": 2},
        "batch": {"global": 4, "micro": 1},
    }
    made = [
        make_run(root, name, world=2, adapter={"dropout": 0.2}, **groups, **slow) for name in ("killed", "not-killed")
    ]
    folder, reference = made
    workers = start_workers(folder, world=2)
    deadline = time.monotonic() + 120
    while not any(event["event"] == "checkpoint_committed" for event in folder.events()):
        assert time.monotonic() < deadline and workers[0].is_alive(), logs(folder)
        time.sleep(0.01)
    workers[1].kill()
    codes = wait(workers)
    assert codes[1] == -signal.SIGKILL and codes[0] != 0, logs(folder)
    assert not folder.result() and not folder.adapter.exists()

    train(folder, world=2, attempt=2)
    train(reference, world=2)
    assert [event["event"] for event in folder.events()].count("resumed") == 1
    same(folder, reference)
    assert reference.result()["eval_loss"] is None
