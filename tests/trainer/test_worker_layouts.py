"""Two workers give what one gives, for every strategy; what does not shard is refused.

One worker accumulates four micro batches of rows of different lengths, two workers two each: the same rows in every
step, the same mean over the trained tokens of the whole global batch. Sums are taken in another order, in float32:
losses (about 6) agree to 1e-5. A mean of means would be off by 1e-3 and more.
"""

from pathlib import Path
from typing import Any

import pytest
import torch

from conf.folder import RunFolder
from tests.trainer.runs import losses, make_run, train, weights
from trainer.failure import WorkerError
from trainer.parallel import check_layout

pytestmark = pytest.mark.train

LOSS_TOLERANCE = 1e-5
WEIGHT_TOLERANCE = 2e-4
"""AdamW's first steps are about the learning rate (5e-3) in size, and turn on the sign of gradients near zero."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("layouts")


@pytest.fixture(scope="module")
def alone(root: Path) -> RunFolder:
    folder = make_run(root, "alone")
    train(folder)
    return folder


@pytest.mark.parametrize(
    "parallel",
    [
        pytest.param({"strategy": "ddp"}, id="ddp"),
        pytest.param({"strategy": "fsdp2"}, id="fsdp2"),
        pytest.param({"strategy": "fsdp2", "reshard": False}, id="fsdp2-kept"),
        pytest.param({"strategy": "zero1"}, id="zero1"),
        pytest.param({"strategy": "zero2"}, id="zero2"),
        pytest.param({"strategy": "zero2", "offload": "optimizer"}, id="zero2-offload"),
        pytest.param({"strategy": "zero3"}, id="zero3"),
        pytest.param({"strategy": "zero3", "offload": "parameters"}, id="zero3-offload"),
    ],
)
def test_two_workers_give_what_one_gives(
    root: Path, alone: RunFolder, parallel: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    folder = make_run(root, request.node.callspec.id, world=2, parallel=parallel)
    train(folder, world=2)
    assert losses(folder) == pytest.approx(losses(alone), abs=LOSS_TOLERANCE)
    mine, theirs = folder.result(), alone.result()
    for name in ("eval_loss_before", "eval_loss"):
        assert mine[name] == pytest.approx(theirs[name], abs=LOSS_TOLERANCE)
    for name in ("tokens", "trainable_parameters", "step"):
        assert mine[name] == theirs[name]
    norms = [line["grad_norm"] for line in folder.metrics() if "loss" in line]
    assert norms == pytest.approx([line["grad_norm"] for line in alone.metrics() if "loss" in line], rel=1e-4)
    same_weights(folder.adapter, alone.adapter)


@pytest.mark.parametrize("strategy", ["fsdp2", "zero2", "zero3"])
def test_one_worker_has_nothing_to_share_and_still_works(root: Path, alone: RunFolder, strategy: str) -> None:
    folder = make_run(root, f"{strategy}-alone", parallel={"strategy": strategy}, method={"max_steps": 2})
    train(folder)
    assert losses(folder)[0] == pytest.approx(losses(alone)[0], abs=LOSS_TOLERANCE)


def test_a_sharded_model_tuned_in_full_is_saved_whole(root: Path) -> None:
    from transformers import AutoModelForCausalLM

    full: dict[str, Any] = {
        "adapter": {"kind": "full", "learning_rate": 1e-3},
        "method": {"max_steps": 3, "gradient_checkpointing": True},
    }
    alone = make_run(root, "full", tied=True, **full)
    train(alone)
    assert not alone.adapter.exists()
    assert "lm_head.weight" not in weights(alone.model)  # it is the embedding
    for strategy in ("fsdp2", "zero3"):
        folder = make_run(root, f"full-{strategy}", world=2, tied=True, parallel={"strategy": strategy}, **full)
        train(folder, world=2)
        assert losses(folder) == pytest.approx(losses(alone), abs=LOSS_TOLERANCE)
        same_weights(folder.model, alone.model)
        assert AutoModelForCausalLM.from_pretrained(str(folder.model)).dtype == torch.float32


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2", "zero1", "zero2", "zero3"])
def test_what_was_not_laid_out_as_asked_is_refused(strategy: str) -> None:
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    with pytest.raises(WorkerError, match=rf"parallel={strategy} was asked for, but .*: nothing was trained"):
        check_layout(strategy, 2, model, optimizer)


def test_a_lone_copy_needs_no_layout() -> None:
    model = torch.nn.Linear(2, 2)
    check_layout("ddp", 1, model, torch.optim.AdamW(model.parameters()))


def same_weights(mine: Path, theirs: Path) -> None:
    found, expected = weights(mine), weights(theirs)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=WEIGHT_TOLERANCE, rtol=0)
