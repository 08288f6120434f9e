"""DeepSpeed's states of one number of workers, laid out for another: its own loader takes them for the same alone.

A copy is written beside the checkpoint, which stays as it is. A ZeRO checkpoint holds, for every worker, a part of flat
arrays: the float32 weights and what the optimiser remembers of each. Stages 1 and 2 cut the array of a whole parameter
group, stage 3 each parameter. The parts are read through the page cache and cut anew, one new worker's at a time, so
that memory never holds more than one of them."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from trainer.failure import WorkerError

SUB_GROUP = 1_000_000_000
"""DeepSpeed's `sub_group_size` where its config does not say: stage 3 closes a sub-group of parameters once a worker's
share of it has that many values."""
_ALIGNMENT = 2
"""Stages 1 and 2 pad a group to a multiple of this times the workers."""

Shapes = dict[str, Any]
"""Names of parameters and their shapes, in the order in which they lie in a flat array."""
Piece = dict[str, Any]
"""One parameter: "weights" (float32) and "state" (the optimiser's, by name), flat; of all old workers lists of what
each holds, with "numel", of a new worker what it will hold. What is the same for all is no list."""


def reshard(checkpoint: Path, folder: Path, old: int, new: int, each: Callable[[], None] = lambda: None) -> None:
    """Write into `folder` what `new` workers resume from, of a checkpoint that `old` workers wrote with ZeRO.

    All that is no worker's own is a link into the checkpoint. `each` is called after every file. Raises WorkerError for
    states that cannot be cut anew, OSError where the disk is full."""
    folder.mkdir(parents=True)
    for path in checkpoint.iterdir():
        if not path.name.startswith("global_step"):
            os.symlink(os.path.relpath(path, folder), folder / path.name)
    tag = (checkpoint / "latest").read_text(encoding="utf-8").strip()
    source, target = checkpoint / tag, folder / tag
    target.mkdir()
    stage, names = _optimizer_files(source, old)
    parts = [restricted_load(source / name) for name in names]
    inner = [part["optimizer_state_dict"] for part in parts]
    model = restricted_load(next(source.glob("*mp_rank_00_model_states.pt"))) | {"dp_world_size": new}
    shapes, sub_groups = model["param_shapes"], []
    if stage == 3:
        most = int(parts[0]["ds_config"]["zero_optimization"].get("sub_group_size", SUB_GROUP))
        sub_groups = _sub_groups(inner[0]["optimizer_state_dict"]["param_groups"], shapes, most, new)
        model["param_shapes"] = [names for group in sub_groups for names in group]
    for name in _model_files(source, new):
        torch.save(model, target / name)
        each()
    for rank in range(new):
        cut = _stage3(inner, shapes, sub_groups, rank, new) if stage == 3 else _stage12(inner, rank, new)
        torch.save(parts[0] | {"optimizer_state_dict": inner[0] | cut}, target / _name_for(names[0], rank))
        each()


def restricted_load(path: Path) -> Any:
    """A file of DeepSpeed's, its tensors left on the disk until they are looked at. Of classes it may name three plain
    ones of DeepSpeed's; any other raises pickle.UnpicklingError."""
    from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    with torch.serialization.safe_globals([LossScaler, DynamicLossScaler, ZeroStageEnum, fragment_address]):
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def _name_for(name: str, rank: int) -> str:
    return name.replace("zero_pp_rank_0_", f"zero_pp_rank_{rank}_")


def _model_files(source: Path, new: int) -> list[str]:
    """Files of weights: one for all in stages 1 and 2, one for each worker, its tensors empty, in stage 3."""
    first = [path.name for path in source.glob("*zero_pp_rank_0_mp_rank_00_model_states.pt")]
    return [_name_for(first[0], rank) for rank in range(new)] if first else ["mp_rank_00_model_states.pt"]


def _optimizer_files(source: Path, old: int) -> tuple[int, list[str]]:
    """The ZeRO stage that wrote them, and the names of the files, by rank."""
    found = [path.name for path in source.glob("*zero_pp_rank_0_mp_rank_00_optim_states.pt")]
    names = [_name_for(found[0], rank) for rank in range(old)] if len(found) == 1 else []
    missing = [name for name in names if not (source / name).exists()]
    if not names or missing:
        raise WorkerError(f"{source} has not the optimiser's states of {old} workers: {', '.join(missing) or 'none'}")
    return int(restricted_load(source / names[0])["optimizer_state_dict"]["zero_stage"]), names


def _stage12(parts: Sequence[dict[str, Any]], rank: int, new: int) -> dict[str, Any]:
    """Stages 1 and 2: rank `rank` of `new` holds one of equal pieces of each group, the end filled up with zeros."""
    first = parts[0]
    groups, weights, paddings = first["base_optimizer_state"]["param_groups"], [], []
    states: dict[int, Any] = {}
    for number, group in enumerate(groups):
        lean = [part["single_partition_of_fp32_groups"][number] for part in parts]
        total = sum(piece.numel() for piece in lean)
        size = math.ceil(total / (_ALIGNMENT * new)) * _ALIGNMENT
        begin, end = min(rank * size, total), min((rank + 1) * size, total)
        weights.append(_span(lean, begin, end))
        paddings.append(size - (end - begin))
        [key] = group["params"]
        olds = [part["base_optimizer_state"]["state"].get(key, {}) for part in parts]
        full = [piece.numel() + part["group_paddings"][number] for piece, part in zip(lean, parts, strict=True)]
        if olds[0]:
            states[key] = {
                name: value if pieces is None else _filled(_span(pieces, begin, end), size)
                for name, value, pieces in _entries(olds, full)
            }
    return {
        "single_partition_of_fp32_groups": weights,
        "group_paddings": paddings,
        "partition_count": [new] * len(groups),
        "base_optimizer_state": first["base_optimizer_state"] | {"state": states},
        # Of DeepSpeed's other way to another number of workers, and no longer true.
        "param_slice_mappings": [],
    }


def _stage3(
    parts: Sequence[dict[str, Any]],
    shapes: Sequence[Shapes],
    sub_groups: Sequence[Sequence[Shapes]],
    rank: int,
    new: int,
) -> dict[str, Any]:
    """Stage 3: rank `rank` of `new` holds an equal piece of each parameter, the end filled up with zeros.

    `shapes` are those of the old sub-groups, `sub_groups` the new ones of each parameter group."""
    optimizer = parts[0]["optimizer_state_dict"]
    pieces = {name: piece for number in range(len(shapes)) for name, piece in _pieces(parts, shapes, number)}
    weights: list[Any] = []
    states: dict[int, Any] = {}
    groups = []
    for group, within in zip(optimizer["param_groups"], sub_groups, strict=True):
        groups.append(group | {"params": list(range(len(weights), len(weights) + len(within)))})
        for names in within:
            mine = [_share(pieces[name], rank, new) for name in names]
            if mine[0]["state"]:
                found = {name: _joined([piece["state"][name] for piece in mine]) for name in mine[0]["state"]}
                states[len(weights)] = found
            weights.append(torch.cat([piece["weights"] for piece in mine]))
    return {
        "fp32_flat_groups": weights,
        "partition_count": new,
        "optimizer_state_dict": optimizer | {"state": states, "param_groups": groups},
    }


def _sub_groups(groups: Sequence[dict[str, Any]], shapes: Sequence[Shapes], most: int, new: int) -> list[list[Shapes]]:
    """The sub-groups of each parameter group, closed as DeepSpeed does: after the parameter with which a worker's share
    reaches `most` values."""
    found: list[list[Shapes]] = []
    for group in groups:
        within: list[Shapes] = [{}]
        held = 0
        for name, shape in ((name, shape) for number in group["params"] for name, shape in shapes[number].items()):
            if held >= most:
                within.append({})
                held = 0
            within[-1][name] = shape
            held += math.ceil(math.prod(shape) / new)
        found.append(within)
    return found


def _pieces(parts: Sequence[dict[str, Any]], shapes: Sequence[Shapes], number: int) -> Iterator[tuple[str, Piece]]:
    """The parameters of one old sub-group."""
    flats = [part["fp32_flat_groups"][number] for part in parts]
    olds = [part["optimizer_state_dict"]["state"].get(number, {}) for part in parts]
    entries = list(_entries(olds, [flat.numel() for flat in flats]))
    offset = 0
    for name, shape in shapes[number].items():
        size = math.ceil(math.prod(shape) / len(parts))

        def own(flat: list[Any], begin: int = offset, size: int = size) -> list[Any]:
            return [piece[begin : begin + size] for piece in flat]

        state = {key: value if pieces is None else own(pieces) for key, value, pieces in entries}
        yield name, {"numel": math.prod(shape), "weights": own(flats), "state": state}
        offset += size


def _share(piece: Piece, rank: int, new: int) -> Piece:
    """What a new worker holds of a parameter."""
    numel = piece["numel"]
    size = math.ceil(numel / new)
    begin, end = min(rank * size, numel), min((rank + 1) * size, numel)

    def cut(old: Any) -> Any:
        return _filled(_span(old, begin, end), size) if isinstance(old, list) else old

    return {"weights": cut(piece["weights"]), "state": {name: cut(old) for name, old in piece["state"].items()}}


def _joined(values: Sequence[Any]) -> Any:
    """Pieces end to end; of what is the same for all, the first."""
    return torch.cat(list(values)) if torch.is_tensor(values[0]) and values[0].dim() else values[0]


def _entries(olds: Sequence[dict[str, Any]], sizes: Sequence[int]) -> Iterator[tuple[str, Any, list[Any] | None]]:
    """What the optimiser remembers of one array: name, the first worker's value, and the pieces of all workers where
    it has a number for each of theirs (`sizes`), None where it is the same for all (a count of steps)."""
    for name, value in olds[0].items():
        if not torch.is_tensor(value) or value.dim() == 0:
            yield name, value, None
            continue
        pieces = [old[name] for old in olds]
        if [piece.numel() for piece in pieces] != list(sizes) or not value.is_floating_point():
            raise WorkerError(
                f"the optimiser's {name} is kept in blocks of quantised numbers, which cannot be cut for another "
                f"number of workers: go on with {len(olds)}"
            )
        yield name, value, pieces


def _span(pieces: Sequence[torch.Tensor], begin: int, end: int) -> torch.Tensor:
    """Values `begin` to `end` of pieces laid end to end; a copy."""
    found, offset = [], 0
    for piece in pieces:
        low, high = max(begin - offset, 0), min(end - offset, piece.numel())
        if low < high:
            found.append(piece[low:high])
        offset += piece.numel()
    return torch.cat(found) if found else pieces[0].new_empty(0)


def _filled(values: torch.Tensor, size: int) -> torch.Tensor:
    return torch.nn.functional.pad(values, (0, size - values.numel()))
