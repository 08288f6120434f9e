"""Runs that go on with another number of workers end as one that nothing disturbed: same rows, same schedule.

Sums are taken in another order, in float32: losses agree to a ten-thousandth. An optimiser that forgot would be seen
in them; which rows a step had is told by their lengths.
"""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from conf.folder import RunFolder, write_json
from conf.schema.derive import derive
from conf.schema.run import RunConfig
from tests.trainer.runs import losses, make_run, train, weights
from trainer import checkpoint, elastic

pytestmark = pytest.mark.train

TOLERANCE = 1e-4
"""Relative, of losses."""
KINDS: dict[str, dict[str, Any]] = {
    "lora": {"adapter": {"dropout": 0.0}},
    "full": {"adapter": {"kind": "full", "learning_rate": 1e-3}},
}
RULER = [0, 2, 6, 24, 29, 40, 43, 55, 68, 75, 76, 85]
"""Marks of a Golomb ruler: no two pairs have the same sum."""


def make(root: Path, name: str, world: int, kind: str, strategy: str, **groups: Any) -> RunFolder:
    values: dict[str, Any] = {
        "batch": {"global": 6, "micro": 1}, "method": {"max_steps": 5}, "checkpoint": {"interval": 9, "keep": 9},
        "rows": 16, **KINDS[kind], **groups,
    }  # fmt: skip
    return make_run(root, name, world=world, parallel={"strategy": strategy}, **values)


def use(folder: RunFolder, world: int) -> None:
    """Freeze the run anew for another number of workers, as a resume does: what depends on it is derived."""
    values = folder.config().dump()
    values["cluster"]["devices_per_node"] = world
    values["batch"]["accumulation"] = None
    config = derive(RunConfig.model_validate(values))
    folder.config_file.write_text(yaml.safe_dump(config.dump()), encoding="utf-8")


def stop_after_a_step(folder: RunFolder, world: int, attempt: int) -> Path:
    """One attempt that saves after its first step and ends; the checkpoint."""
    write_json(folder.stop_file, {"reason": "stopped"})
    train(folder, world, attempt)
    return checkpoint.committed(folder.checkpoints)[-1]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("elastic")


@pytest.fixture(scope="module")
def whole(root: Path) -> dict[str, RunFolder]:
    """One worker's runs that nothing interrupts, by kind."""
    folders = {kind: make(root, f"whole-{kind}", 1, kind, "ddp") for kind in KINDS}
    for folder in folders.values():
        train(folder)
    return folders


@pytest.mark.parametrize(
    ("strategy", "kind", "before", "after"),
    [
        ("ddp", "lora", 1, 3),
        ("fsdp2", "full", 3, 2),
        # Not divisible by three, partitions end in padding.
        ("zero1", "full", 3, 2),
        ("zero3", "full", 2, 3),
        ("zero3", "lora", 3, 1),
    ],
)
def test_another_number_of_workers_goes_on(
    root: Path, whole: dict[str, RunFolder], strategy: str, kind: str, before: int, after: int
) -> None:
    folder = make(root, f"{strategy}-{kind}", before, kind, strategy)
    saved = stop_after_a_step(folder, before, attempt=1)
    use(folder, after)
    train(folder, after, attempt=2)

    reference = whole[kind]
    assert losses(folder) == pytest.approx(losses(reference), rel=TOLERANCE)
    rates = [[line["learning_rate"] for line in run.metrics() if "loss" in line] for run in (folder, reference)]
    assert rates[0] == rates[1]
    mine, theirs = folder.result(), reference.result()
    assert mine["eval_loss"] == pytest.approx(theirs["eval_loss"], rel=TOLERANCE)
    assert (mine["step"], mine["tokens"]) == (theirs["step"], theirs["tokens"])
    found, expected = (weights(run.adapter if kind == "lora" else run.model) for run in (folder, reference))
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=2e-4, rtol=0)

    [resumed] = [event for event in folder.events() if event["event"] == "resumed"]
    assert resumed["path"] == str(saved)
    assert resumed["changed"] == {"workers": [before, after], "batch.accumulation": [6 // before, 6 // after]}
    assert f"workers {before} -> {after}, batch.accumulation" in resumed["message"]
    assert checkpoint.why_damaged(saved) is None
    assert [path.name for path in folder.checkpoints.iterdir() if path.name.startswith(".")] == []


def rows_by_length(folder: Path) -> Path:
    """Prepared rows of a dozen lengths; those of any two add up to a number of their own."""
    from datasets import Dataset

    dice = random.Random(3)
    for part, lengths in (("train", [4 + mark for mark in RULER]), ("eval", [9])):
        rows = [[dice.randrange(4, 44) for _ in range(length)] for length in lengths]
        Dataset.from_list([{"input_ids": row, "labels": row} for row in rows]).save_to_disk(str(folder / part))
    return folder


def test_no_row_is_seen_twice_or_left_out_in_a_pass(root: Path) -> None:
    data = rows_by_length(root / "lengths")
    folder = make(root, "rows", 2, "lora", "ddp", batch={"global": 2, "micro": 1}, method={"max_steps": 12})
    assets = folder.manifest()["assets"] | {"data": {"path": str(data)}}
    write_json(folder.manifest_file, {"assets": assets})
    for attempt, world in enumerate((2, 1, 2), start=1):
        use(folder, world)
        if attempt < 3:
            stop_after_a_step(folder, world, attempt)
        else:
            train(folder, world, attempt)
    pairs = {8 + one + two: (one, two) for place, one in enumerate(RULER) for two in RULER[:place]}
    lines = [line for line in folder.metrics() if "loss" in line]
    assert [line["step"] for line in lines] == list(range(1, 13))
    seen = [pairs[line["tokens"]] for line in lines]
    for passed in (seen[:6], seen[6:]):
        assert sorted(mark for pair in passed for mark in pair) == RULER
    assert seen[:6] != seen[6:]


def test_random_numbers_of_workers_that_were_there_and_of_new_ones(whole: dict[str, RunFolder]) -> None:
    [saved] = checkpoint.committed(whole["lora"].checkpoints)

    def draws(rank: int, step: int = 5) -> list[float]:
        elastic.load_random_state(saved, rank, seed=7, step=step)
        return [random.random(), float(torch.rand(()))]

    kept = draws(0)
    assert kept == draws(0, step=6)
    assert draws(1) == draws(1)
    assert len({tuple(kept), tuple(draws(1)), tuple(draws(2)), tuple(draws(1, step=6))}) == 4
