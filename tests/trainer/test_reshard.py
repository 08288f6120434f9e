"""DeepSpeed's states cut anew: what was cut for two workers, for three and for two again is what it was."""

from pathlib import Path
from typing import Any

import pytest
import torch

from trainer import reshard
from trainer.failure import WorkerError

pytestmark = pytest.mark.train

SHAPES: list[dict[str, tuple[int, ...]]] = [{"a": (3, 3), "b": (5,)}, {"c": (7, 2)}, {"d": (4,)}]
"""Of stage 3: parameters by sub-group. The first two sub-groups are one parameter group."""


def padded(values: torch.Tensor, size: int) -> torch.Tensor:
    return torch.nn.functional.pad(values, (0, size - values.numel()))


def share(values: torch.Tensor, rank: int, world: int) -> torch.Tensor:
    size = -(-values.numel() // world)
    return padded(values, size * world)[rank * size : (rank + 1) * size]


def write(checkpoint: Path, name: str, states: dict[str, Any]) -> None:
    said = {"zero_optimization": {"sub_group_size": 8}}
    folder = checkpoint / "global_step4"
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"optimizer_state_dict": states, "ds_config": said, "ds_version": "0"}, folder / name)
    torch.save({"dp_world_size": 2, "param_shapes": SHAPES}, folder / name.replace("optim", "model"))
    (checkpoint / "latest").write_text("global_step4")


def stage3(checkpoint: Path, world: int) -> None:
    """A checkpoint of stage 3; the share of a worker in the first sub-group is 5 + 3 values, the limit."""
    whole = {name: torch.randn(shape) for group in SHAPES for name, shape in group.items()}
    for rank in range(world):
        flats = [torch.cat([share(whole[name].flatten(), rank, world) for name in group]) for group in SHAPES]
        state = {number: {"step": torch.tensor(4.0), "exp_avg": flat * 2} for number, flat in enumerate(flats)}
        groups = [{"lr": 0.1, "params": [0, 1]}, {"lr": 0.2, "params": [2]}]
        states = {
            "zero_stage": 3,
            "partition_count": world,
            "fp32_flat_groups": flats,
            "optimizer_state_dict": {"state": state, "param_groups": groups},
        }
        write(checkpoint, f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt", states)


def stage2(checkpoint: Path, world: int, quantised: bool = False) -> None:
    whole = torch.randn(13)
    size = -(-13 // (2 * world)) * 2
    for rank in range(world):
        full = padded(whole, size * world)[rank * size : (rank + 1) * size]
        lean = full[: max(0, min(13 - rank * size, size))]
        state = {"step": 4, "exp_avg": full.to(torch.uint8) if quantised else full * 2}
        states = {
            "zero_stage": 2,
            "partition_count": [world],
            "group_paddings": [size - lean.numel()],
            "single_partition_of_fp32_groups": [lean],
            "base_optimizer_state": {"state": {0: state}, "param_groups": [{"lr": 0.1, "params": [0]}]},
            "param_slice_mappings": [],
        }
        write(checkpoint, f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt", states)


def read(checkpoint: Path, world: int) -> list[dict[str, Any]]:
    files = sorted((checkpoint / "global_step4").glob("*optim_states.pt"))
    assert len(files) == world
    return [torch.load(file, weights_only=True)["optimizer_state_dict"] for file in files]


def same(mine: Any, theirs: Any) -> bool:
    if isinstance(mine, dict):
        return mine.keys() == theirs.keys() and all(same(mine[key], theirs[key]) for key in mine)
    if isinstance(mine, list):
        return len(mine) == len(theirs) and all(map(same, mine, theirs))
    return torch.equal(mine, theirs) if torch.is_tensor(mine) else bool(mine == theirs)


@pytest.mark.parametrize("written", [stage2, stage3])
def test_there_and_back(tmp_path: Path, written: Any) -> None:
    first, there, back = (tmp_path / name for name in ("first", "there", "back"))
    written(first, 2)
    reshard.reshard(first, there, 2, 3)
    assert not same(read(there, 3)[0], read(first, 2)[0])
    reshard.reshard(there, back, 3, 2)
    assert same(read(back, 2), read(first, 2))
    models = sorted((there / "global_step4").glob("*model_states.pt"))
    assert [torch.load(file)["dp_world_size"] for file in models] == [3, 3, 3]


def test_another_world_has_other_sub_groups(tmp_path: Path) -> None:
    stage3(tmp_path / "first", 2)
    reshard.reshard(tmp_path / "first", tmp_path / "alone", 2, 1)
    [alone] = read(tmp_path / "alone", 1)
    assert [flat.numel() for flat in alone["fp32_flat_groups"]] == [9, 19, 4]
    assert [group["params"] for group in alone["optimizer_state_dict"]["param_groups"]] == [[0, 1], [2]]


def test_quantised_states_are_refused_with_what_to_type(tmp_path: Path) -> None:
    stage2(tmp_path / "first", 2, quantised=True)
    with pytest.raises(WorkerError, match=r"exp_avg is kept in blocks .* go on with 2"):
        reshard.reshard(tmp_path / "first", tmp_path / "other", 2, 3)


def test_states_of_a_worker_that_are_missing_are_named(tmp_path: Path) -> None:
    stage3(tmp_path / "first", 2)
    (tmp_path / "first" / "global_step4" / "zero_pp_rank_1_mp_rank_00_optim_states.pt").unlink()
    with pytest.raises(WorkerError, match="of 2 workers: zero_pp_rank_1_"):
        reshard.reshard(tmp_path / "first", tmp_path / "other", 2, 3)
