"""One worker from start to end: what it writes, and that the adapter is what was trained."""

import re
from pathlib import Path
from typing import Any

import pytest

from conf.folder import RunFolder
from tests.trainer.runs import ROOT, losses, make_run, token_mean, train, train_by_command, weights
from trainer import checkpoint

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = make_run(
        tmp_path_factory.mktemp("run"),
        "plain",
        method={"max_steps": None, "epochs": 2.4},
        evaluation={"interval": 4, "max_rows": 5},
        checkpoint={"interval": 4, "keep": 2},
        tracking={"name": "tensorboard", "interval": 1},
    )
    folder.save_file.touch()
    train_by_command(folder)
    return folder


def test_losses_fall(done: RunFolder) -> None:
    found = losses(done)
    assert len(found) == 15  # ceil(2.4 passes x 24 rows / 4 rows a step)
    assert sum(found[-3:]) / 3 < sum(found[:3]) / 3 - 0.1
    result = done.result()
    assert result["eval_loss"] < result["eval_loss_before"] - 0.1
    assert result["train_loss"] == pytest.approx(sum(found) / len(found))


def test_events_come_in_order(done: RunFolder) -> None:
    events = [event["event"] for event in done.events() if event["event"] != "step"]
    assert events[:5] == ["imported", "rendezvoused", "model_loaded", "data_ready", "evaluated"]
    assert events[-1] == "finished"
    ready = next(event for event in done.events() if event["event"] == "data_ready")
    assert (ready["steps"], ready["rows"], ready["attempt"]) == (15, 24, 1)
    assert all(event["seconds"] >= 0 for event in done.events()[:4])
    evaluated = [event["step"] for event in done.events() if event["event"] == "evaluated"]
    assert evaluated == [0, 4, 8, 12, 15]


def test_tokens_are_counted_row_by_row(done: RunFolder) -> None:
    rows = training_rows(done)
    from trainer.order import Order

    order = list(Order(len(rows), 15 * 4, seed=42))
    expected = [sum(len(rows[row]["input_ids"]) for row in order[step * 4 : step * 4 + 4]) for step in range(15)]
    assert [line["tokens"] for line in done.metrics() if "loss" in line] == expected
    assert done.result()["tokens"] == sum(expected)


def test_checkpoints_are_kept_as_asked_and_complete(done: RunFolder) -> None:
    # A checkpoint was asked for at once (RUN/save), and one comes with the end.
    steps = [event["step"] for event in done.events() if event["event"] == "checkpoint_committed"]
    assert steps == [1, 4, 8, 12, 15]
    assert not done.save_file.exists()
    kept = checkpoint.committed(done.checkpoints)
    assert [checkpoint.step_of(path) for path in kept] == [12, 15]
    assert [checkpoint.why_damaged(path) for path in kept] == [None, None]
    assert sorted(path.name for path in done.checkpoints.iterdir()) == ["step-00000012", "step-00000015"]


def test_tensorboard_has_one_file_with_the_curves(done: RunFolder) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    [file] = list(done.tensorboard.iterdir())
    board = EventAccumulator(str(file))
    board.Reload()
    shown = [(point.step, point.value) for point in board.Scalars("train/loss")]
    assert shown == [(step, pytest.approx(loss)) for step, loss in enumerate(losses(done), start=1)]
    assert [point.step for point in board.Scalars("eval/loss")] == [0, 4, 8, 12, 15]


def test_the_adapter_is_plain_peft_and_gives_the_evaluation_loss(done: RunFolder) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = done.manifest()["assets"]["model"]["path"]
    plain = AutoModelForCausalLM.from_pretrained(base)
    rows = training_rows(done, "eval")[:5]
    assert token_mean(plain, rows) == pytest.approx(done.result()["eval_loss_before"], abs=1e-5)
    tuned = PeftModel.from_pretrained(plain, str(done.adapter)).eval()
    with torch.no_grad():
        assert token_mean(tuned, rows) == pytest.approx(done.result()["eval_loss"], abs=1e-5)
    assert AutoTokenizer.from_pretrained(str(done.adapter)).chat_template
    assert len(weights(done.adapter)) == 2 * 2 * 7  # A and B of seven linear layers of two blocks
    assert not list(done.adapter.glob("*.bin"))


def test_a_finished_run_started_again_leaves_at_once(done: RunFolder) -> None:
    events = done.events_file.read_bytes()
    train(done, attempt=2)
    assert done.events_file.read_bytes() == events


def test_chat_answers_with_the_adapter(done: RunFolder, capfd: pytest.CaptureFixture[str]) -> None:
    import json

    from trainer.chat import main

    assert main([str(done.path), "what is a list", "--max-new-tokens", "8", "--json"]) == 0
    said = json.loads(capfd.readouterr().out)
    assert said["run"] == done.id and said["turns"][0]["prompt"] == "what is a list"
    assert main([str(done.path), "what is a list", "--max-new-tokens", "8"]) == 0
    assert capfd.readouterr().out.strip() == said["turns"][0]["answer"].strip()


def test_chat_needs_a_finished_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from trainer.chat import main

    folder = make_run(tmp_path, "young")
    assert main([str(folder.path), "hello"]) == 2
    assert re.search(r"young is not finished and has no adapter", capfd.readouterr().err)
    assert main([str(ROOT / "nowhere"), "hello"]) == 2
    assert "is no run folder" in capfd.readouterr().err


def training_rows(folder: RunFolder, part: str = "train") -> list[dict[str, Any]]:
    from datasets import load_from_disk

    return list(load_from_disk(str(Path(folder.manifest()["assets"]["data"]["path"]) / part)))
