"""Quantised weights, full tuning, packed rows, bf16; and failures that are told in one sentence."""

from pathlib import Path
from typing import Any

import pytest

from conf.folder import read_json, write_json
from tests.trainer.runs import logs, losses, make_run, start_workers, token_mean, train, wait, weights

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("variants")


@pytest.mark.parametrize(
    "groups",
    [
        pytest.param({"adapter": {"bits": 4, "modules_to_save": ["embed_tokens"]}}, id="nf4"),
        pytest.param({"adapter": {"bits": 8}, "method": {"optimizer": "adamw_8bit", "schedule": "linear"}}, id="int8"),
        pytest.param(
            {"adapter": {"kind": "full", "learning_rate": 5e-3}, "method": {"schedule": "constant"}}, id="full"
        ),
        pytest.param({"precision": {"compute": "bf16"}, "method": {"optimizer": "adamw_fused"}}, id="bf16"),
    ],
)
def test_trains(root: Path, groups: dict[str, Any], request: pytest.FixtureRequest) -> None:
    folder = make_run(root, request.node.callspec.id, **groups)
    train(folder)
    result = folder.result()
    assert result["status"] == "completed"
    assert result["eval_loss"] < result["eval_loss_before"] - 0.02
    saved = weights(folder.model if groups.get("adapter", {}).get("kind") == "full" else folder.adapter)
    assert saved and all(tensor.dtype.is_floating_point and tensor.element_size() == 4 for tensor in saved.values())
    if request.node.callspec.id == "nf4":
        assert any("embed_tokens" in name for name in saved)


def test_sharded_nf4_gives_what_one_worker_gives(root: Path) -> None:
    alone = make_run(root, "nf4-alone", adapter={"bits": 4})
    train(alone)
    folder = make_run(root, "nf4-fsdp2", world=2, adapter={"bits": 4}, parallel={"strategy": "fsdp2"})
    train(folder, world=2)
    assert losses(folder) == pytest.approx(losses(alone), abs=1e-4)


def test_packed_rows_do_not_see_each_other(root: Path) -> None:
    """The first step's loss is that of its rows one by one, each in a batch of its own."""
    from datasets import load_from_disk
    from transformers import AutoModelForCausalLM

    from trainer.order import Order

    folder = make_run(root, "packed", packed=True, batch={"global": 4, "micro": 2}, method={"max_steps": 2})
    train(folder)
    assets = folder.manifest()["assets"]
    packs = load_from_disk(str(Path(assets["data"]["path"]) / "train"))
    rows = []
    for number in list(Order(len(packs), 8, seed=42))[:4]:
        start = 0
        for length in packs[number]["seq_lengths"]:
            piece = slice(start, start + length)
            rows.append({"input_ids": packs[number]["input_ids"][piece], "labels": packs[number]["labels"][piece]})
            start += length
    assert len(rows) > 4
    base = AutoModelForCausalLM.from_pretrained(assets["model"]["path"])
    assert losses(folder)[0] == pytest.approx(token_mean(base, rows), abs=1e-4)
    first = next(line for line in folder.metrics() if "loss" in line)
    assert first["tokens"] == sum(len(row["input_ids"]) for row in rows)
    held_out = list(load_from_disk(str(Path(assets["data"]["path"]) / "eval")))
    assert folder.result()["eval_loss_before"] == pytest.approx(token_mean(base, held_out), abs=1e-4)


def test_packed_rows_are_the_same_for_any_accumulation(root: Path) -> None:
    found = []
    for name, batch in (("wide", {"global": 4, "micro": 4}), ("narrow", {"global": 4, "micro": 1})):
        folder = make_run(root, f"packed-{name}", packed=True, batch=batch)
        train(folder)
        found.append(losses(folder))
    assert found[0] == pytest.approx(found[1], abs=1e-4)


def failure(root: Path, name: str, **groups: Any) -> dict[str, Any]:
    """What the one worker of a run says of its failure."""
    folder = make_run(root, name, **groups)
    if name == "unprepared":
        write_json(folder.manifest_file, {})
    assert wait(start_workers(folder)) == [1], logs(folder)
    assert "Traceback" not in logs(folder)
    return read_json(folder.attempt_folder(1) / "failure-0.json")


def test_mistakes_are_told_in_one_sentence(root: Path, tmp_path: Path) -> None:
    said = failure(root, "unprepared")
    assert said["cause"] == "worker_crash" and "run python -m trainer prepare" in said["message"]
    said = failure(root, "too-few", world=2)
    assert "x 1 workers: the run was made for 2 workers" in said["message"]
    pickled = make_run(tmp_path, "first")
    model = Path(pickled.manifest()["assets"]["model"]["path"])
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    assert "model.allow_pickle=true" in failure(tmp_path, "pickled")["message"]
