"""The large state of one step, copied into host memory so that training can go on while it is written."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate.utils.constants import FSDP_MODEL_NAME, OPTIMIZER_NAME

LAYOUTS = ("ddp", "fsdp2")
"""Layouts whose state can be copied. DeepSpeed writes its own in one go."""


class Snapshot:
    """Copies of weights and optimiser states, and how each gets to disk: as Trainer would have written it itself.

    ddp: rank 0 holds all. fsdp2: each rank holds its shards, and all ranks must `write` together; torch's distributed
    checkpoint talks over `group`, which nothing else uses (a gloo process group; None without sharding)."""

    def __init__(self, group: Any = None) -> None:
        self._group = group
        self._writes: list[Callable[[], None]] = []

    def take_model(self, trainer: Any, folder: str) -> None:
        """Copy the weights of a trainer (transformers), to be written into `folder`. All ranks."""
        if self._group is not None:
            from torch.distributed.checkpoint.state_dict import get_model_state_dict

            self._shards(folder, f"{FSDP_MODEL_NAME}_0", {"model": get_model_state_dict(trainer.model)})
        elif trainer.args.should_save:
            state = host_copy(trainer.model.state_dict())
            self._writes.append(lambda: trainer._save(folder, state_dict=state))

    def take_optimizer(self, trainer: Any, folder: str) -> None:
        """Copy the optimiser's states, to be written into `folder`. All ranks."""
        if self._group is not None:
            from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

            state = get_optimizer_state_dict(trainer.model, trainer.optimizer)
            self._shards(folder, f"{OPTIMIZER_NAME}_0", {"optimizer": state})
        elif trainer.args.should_save:
            copied = host_copy(trainer.optimizer.state_dict())
            self._writes.append(lambda: torch.save(copied, Path(folder) / "optimizer.pt"))

    def write(self) -> None:
        """Bring all of it to disk, unsynced, and let go of the copies. Raises OSError."""
        while self._writes:
            self._writes.pop(0)()

    def _shards(self, folder: str, name: str, state: dict[str, Any]) -> None:
        from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
        from torch.distributed.checkpoint.filesystem import FileSystemWriter
        from torch.distributed.checkpoint.state_dict_saver import save

        copied, place, group = host_copy(state), Path(folder) / name, self._group

        def write() -> None:
            place.mkdir(parents=True, exist_ok=True)
            writer = FileSystemWriter(place)
            save(copied, storage_writer=writer, planner=DefaultSavePlanner(), process_group=group)

        self._writes.append(write)


def host_copy(value: Any) -> Any:
    """A copy of nested dicts, lists and tuples, every tensor in host memory and none shared with the original.

    Tensors that are one and the same (tied weights) stay one and the same. Sharded ones keep their layout."""
    return _copied(value, {})


def _copied(value: Any, known: dict[Any, Any]) -> Any:
    if isinstance(value, torch.Tensor):
        key = _identity(value)
        if key not in known:
            known[key] = value.detach().to("cpu", copy=True)
        return known[key]
    if isinstance(value, dict):
        return {name: _copied(inner, known) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        inner = [_copied(each, known) for each in value]
        return inner if isinstance(value, list) else tuple(inner)
    return copy.deepcopy(value)


def _identity(tensor: Any) -> Any:
    from torch.distributed.tensor import DTensor

    local = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    if local.numel() == 0:
        return id(tensor)
    return local.data_ptr(), tuple(tensor.shape), local.stride(), local.dtype, local.device
