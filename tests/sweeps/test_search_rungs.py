"""A trial that was paused at rungs and promoted ends with the very weights of the same trial never paused."""

from pathlib import Path

import pytest
import torch

from conf.folder import RunFolder, write_json
from sweeps.outcome import outcome
from sweeps.ranking import Objective
from tests.trainer.runs import losses, make_run, train, weights
from trainer import checkpoint

pytestmark = pytest.mark.train

LOSS = [Objective("eval_loss", "minimize")]


def make(root: Path, name: str, interval: int | None) -> RunFolder:
    return make_run(
        root,
        name,
        adapter={"dropout": 0.2},
        method={"max_steps": 8, "warmup": 0.2},
        checkpoint={"interval": None, "keep": 1},
        evaluation={"interval": interval},
    )


def test_a_promoted_trial_is_bit_identical_to_one_never_paused(tmp_path: Path) -> None:
    alone, trial = make(tmp_path, "alone", None), make(tmp_path, "trial", 2)
    train(alone)
    for attempt, rung in enumerate((2, 4), 1):
        write_json(trial.stop_file, {"reason": "pruned", "step": rung})
        train(trial, attempt=attempt)
        found = outcome(trial, LOSS, rung)
        assert (found.kind, found.step, found.values) == ("paused", rung, (trial.result()["eval_loss"],))
        assert not trial.stop_file.exists()
        assert [checkpoint.step_of(path) for path in checkpoint.committed(trial.checkpoints)] == [rung]
    train(trial, attempt=3)
    assert outcome(trial, LOSS, None).values == (alone.result()["eval_loss"],)
    assert losses(trial) == losses(alone), "every step once, under the schedule of the full length"
    mine, theirs = weights(trial.adapter), weights(alone.adapter)
    assert mine.keys() == theirs.keys()
    assert [name for name in theirs if not torch.equal(mine[name], theirs[name])] == []
