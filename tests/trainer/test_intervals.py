"""When a run evaluates, saves and stops, in which order it takes its rows, and on which loss it trains."""

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from conf.folder import RunFolder
from tests.trainer.runs import losses, make_run, train, weights
from trainer.order import Order

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("intervals")


def at(folder: RunFolder, event: str) -> list[int]:
    return [line["step"] for line in folder.events() if line["event"] == event]


def rows_of(folder: RunFolder, part: str) -> list[dict[str, Any]]:
    from datasets import load_from_disk

    return list(load_from_disk(str(Path(folder.manifest()["assets"]["data"]["path"]) / part)))


def test_checkpoints_and_evaluations_of_a_pass(root: Path) -> None:
    """24 rows in global batches of 4: a pass is 6 steps."""
    folder = make_run(
        root,
        "passes",
        method={"max_steps": 8},
        checkpoint={"per_epoch": 2.0, "interval": 1, "keep": 9},
        evaluation={"per_epoch": 1.5, "interval": None},
        batch={"global": 4, "micro": 1, "evaluation": 3},
    )
    train(folder)
    assert at(folder, "checkpoint_committed") == [3, 6, 8]
    assert at(folder, "evaluated") == [0, 4, 8]
    other = make_run(root, "one-by-one", method={"max_steps": 1})
    train(other)
    assert folder.result()["eval_loss_before"] == pytest.approx(other.result()["eval_loss_before"], abs=1e-6)


def test_a_loss_that_does_not_fall_ends_the_run(root: Path) -> None:
    """Nothing is learnt, so that no evaluation is lower than the first; steps 2 and 4 are the two in a row."""
    folder = make_run(
        root,
        "early",
        adapter={"kind": "full", "learning_rate": 1e-12},
        method={"max_steps": 20, "early_stopping": 2},
        checkpoint={"interval": 1, "keep": 9},
        evaluation={"interval": 2},
    )
    train(folder)
    result = folder.result()
    assert (result["status"], result["cause"], result["step"], result["artefact"]) == (
        "completed",
        "completed",
        4,
        "model",
    )
    assert folder.events()[-1]["event"] == "finished"
    assert folder.events()[-1]["why"] == "no lower held-out loss in 2 evaluations"
    assert at(folder, "checkpoint_committed") == [1, 2, 3]  # one of step 4 would train on
    assert weights(folder.model)

    again = RunFolder(root / "early-again")
    shutil.copytree(folder.path, again.path)
    again.result_file.unlink()
    shutil.rmtree(again.model)
    train(again, attempt=2)
    assert at(again, "resumed") == [3]
    # The evaluation of step 2 was counted before the resume.
    assert (again.result()["step"], at(again, "evaluated")[-1]) == (4, 4)


def test_early_stopping_counts() -> None:
    from types import SimpleNamespace

    from trainer.stopping import EarlyStopping

    stopping = EarlyStopping(patience=2)
    state, control = SimpleNamespace(global_step=1, max_steps=9), SimpleNamespace(should_training_stop=False)
    for loss, waited in ((2.0, 0), (float("nan"), 1), (1.0, 0), (1.0, 1), (1.5, 2)):
        assert not control.should_training_stop
        stopping.on_evaluate(None, state, control, {"eval_loss": loss})
        assert stopping.waited == waited
    assert stopping.reached and control.should_training_stop and control.should_save is False


def test_dft_weighs_each_token_by_its_probability(root: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    folder = make_run(root, "dft", method={"max_steps": 2, "loss": "dft"})
    train(folder)
    base = AutoModelForCausalLM.from_pretrained(folder.manifest()["assets"]["model"]["path"])
    rows = rows_of(folder, "train")
    total, tokens = 0.0, 0
    for number in list(Order(len(rows), 8, seed=42))[:4]:
        ids, labels = torch.tensor(rows[number]["input_ids"]), torch.tensor(rows[number]["labels"])
        with torch.no_grad():
            logs = base(input_ids=ids[None]).logits[0, :-1].log_softmax(-1)
        learnt = labels[1:] != -100
        picked = logs[learnt].gather(1, labels[1:][learnt][:, None])
        total += float(-(picked.exp() * picked).sum())
        tokens += int(learnt.sum())
    assert losses(folder)[0] == pytest.approx(total / tokens, abs=1e-5)
    # What is held out is judged alike for every training loss.
    assert folder.result()["eval_loss_before"] > 6


def test_noise_on_the_embeddings_goes_on_as_it_was(root: Path) -> None:
    import torch

    said: dict[str, Any] = {"method": {"max_steps": 4, "neftune_alpha": 5.0}}
    plain, noisy = make_run(root, "plain", method={"max_steps": 4}), make_run(root, "noisy", **said)
    for folder in (plain, noisy):
        train(folder)
    assert losses(noisy)[0] != losses(plain)[0]
    assert noisy.result()["eval_loss_before"] == plain.result()["eval_loss_before"]
    resumed = RunFolder(root / "noisy-resumed")
    shutil.copytree(noisy.path, resumed.path)
    resumed.result_file.unlink()
    shutil.rmtree(resumed.checkpoints / "step-00000004")
    train(resumed, attempt=2)
    found, expected = weights(resumed.adapter), weights(noisy.adapter)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("order", ["length", "sequential"])
def test_rows_in_another_order_are_the_same_for_any_layout(root: Path, order: str) -> None:
    found = []
    for name, world, batch in (("alone", 1, {"global": 4, "micro": 4}), ("two", 2, {"global": 4, "micro": 1})):
        folder = make_run(
            root, f"{order}-{name}", world=world, data={"order": order}, batch=batch, method={"max_steps": 3}
        )
        train(folder, world)
        found.append(losses(folder))
    assert found[0] == pytest.approx(found[1], abs=1e-5)


def test_sequential_rows_stand_as_they_stood() -> None:
    assert list(Order(3, 7, seed=1, order="sequential")) == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize("rows", [1, 7, 400, 1234])
def test_like_lengths_come_together_and_every_row_comes_once_a_pass(rows: int) -> None:
    dice = random.Random(rows)
    lengths = [dice.randint(1, 1000) for _ in range(rows)]
    taken = list(Order(rows, 3 * rows, 5, "length", lengths, batch=8))
    for number in range(3):
        assert sorted(taken[number * rows : (number + 1) * rows]) == list(range(rows))
    assert taken == list(Order(rows, 3 * rows, 5, "length", lengths, batch=8))
    if rows < 400:
        return
    assert taken[:rows] != taken[rows : 2 * rows]
    batches = [taken[place : place + 8] for place in range(0, 3 * rows - 7, 8)]
    spans = [max(lengths[row] for row in batch) - min(lengths[row] for row in batch) for batch in batches]
    # In random batches of 8 the span is about 780; batches that join two passes are random ones.
    assert sorted(spans)[len(spans) * 9 // 10] < 100
    firsts = [max(lengths[row] for row in batch) for batch in batches[: rows // 8]]
    assert firsts != sorted(firsts) and firsts != sorted(firsts, reverse=True)


def test_lengths_are_read_without_the_tokens() -> None:
    from datasets import Dataset

    from trainer.training import row_lengths

    rows = Dataset.from_dict({"input_ids": [[1], [1, 2, 3], []], "labels": [[1], [1, 2, 3], []]})
    assert row_lengths(rows) == [1, 3, 0]
    assert row_lengths(rows.select([1, 0])) == [3, 1]
