"""Nothing in a checkpoint runs code: its pickles are looked through before any library reads them.

Trainer reads its files with torch's weights_only, which fails only after the model is loaded. DeepSpeed and torch's
sharded checkpoints unpickle freely (deepspeed/runtime/checkpoint_engine, torch/distributed/checkpoint/filesystem.py):
here their files may name nothing but what these libraries themselves put there."""

import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer.optimizers import PROJECTORS

_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")
_UNREAD = "training_args.bin"
"""Written by Trainer, read by nobody."""
_ALLOWED = {
    # numpy's and Python's random numbers, as transformers allows them.
    "numpy._core.multiarray._reconstruct", "numpy.core.multiarray._reconstruct", "numpy.ndarray", "numpy.dtype",
    "numpy.dtypes.UInt32DType", "_codecs.encode",
    # DeepSpeed.
    "deepspeed.runtime.fp16.loss_scaler.LossScaler", "deepspeed.runtime.fp16.loss_scaler.DynamicLossScaler",
    "deepspeed.runtime.zero.config.ZeroStageEnum", "deepspeed.utils.tensor_fragment.fragment_address",
    # Optimisers whose states hold objects.
    *(f"{module}.{name}" for module, name in PROJECTORS.values()),
}  # fmt: skip
_SHARDED = "torch.distributed.checkpoint."
_METADATA = {
    _SHARDED + name
    for name in (
        "metadata.Metadata", "metadata.MetadataIndex", "metadata.TensorStorageMetadata", "metadata.TensorProperties",
        "metadata.BytesStorageMetadata", "metadata.ChunkStorageMetadata", "metadata.StorageMeta",
        "metadata._MEM_FORMAT_ENCODING", "filesystem._StorageInfo",
    )
} | {"torch.Size", "torch.serialization._get_layout", "pathlib.PosixPath", "pathlib.Path"}  # fmt: skip


class _Refused(Exception):
    """A pickle names something that no checkpoint needs."""


def why_unsafe(checkpoint: Path) -> str | None:
    """What in a checkpoint's folder could run code, in words; None where nothing can. Runs none of it.

    Files that only look damaged are refused, too."""
    try:
        for file in sorted(checkpoint.rglob("*")):
            if file.name == ".metadata":
                _check_sharded(file)
            elif file.suffix in _SUFFIXES and file.name != _UNREAD:
                _check_file(file)
    except _Refused as error:
        return str(error)
    return None


def _check_file(file: Path) -> None:
    """A file of torch.save: a zip with one pickle."""
    import torch

    try:
        named = torch.serialization.get_unsafe_globals_in_checkpoint(str(file))
    except Exception as error:  # torch's reader has many words for a file that is none of torch's
        raise _Refused(f"{file.name} is no file of torch.save, so that loading it could run code: {error}") from error
    unknown = sorted(set(named) - _ALLOWED)
    if unknown:
        raise _Refused(f"{file.name} would run {', '.join(unknown)} when it is loaded, which no checkpoint needs")


def _check_sharded(file: Path) -> None:
    """The index of a sharded checkpoint, and those of its items that are pickles."""
    import torch

    try:
        index = _Reader(io.BytesIO(file.read_bytes()), file).load()
        for place, offset, length in _pickled_items(index):
            where = (file.parent / place).resolve()
            if where.parent != file.parent.resolve():
                raise _Refused(f"{file.parent.name}/{file.name} points to {place}, outside of the checkpoint")
            with where.open("rb") as stream:
                stream.seek(offset)
                torch.load(io.BytesIO(stream.read(length)), weights_only=True)
    except _Refused:
        raise
    except Exception as error:  # whatever a broken pickle makes of itself
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise _Refused(f"{file.parent.name}/{file.name} could run code when it is loaded: {first}") from error


def _pickled_items(index: Any) -> Iterator[tuple[str, int, int]]:
    from torch.distributed.checkpoint.metadata import BytesStorageMetadata

    for item, place in (index.storage_data or {}).items():
        if isinstance(index.state_dict_metadata[item.fqn], BytesStorageMetadata):
            if place.transform_descriptors:
                raise _Refused(f"{item.fqn} is stored in a form that this Slurmwright does not write")
            yield place.relative_path, place.offset, place.length


class _Reader(pickle.Unpickler):
    """Loads what `_METADATA` names and no more."""

    def __init__(self, stream: io.BytesIO, file: Path) -> None:
        super().__init__(stream)
        self._name = f"{file.parent.name}/{file.name}"

    def find_class(self, module: str, name: str) -> Any:
        """Called for everything that a pickle names."""
        known = f"{module}.{name}"
        if known not in _METADATA and not _is_dtype(module, name):
            raise _Refused(f"{self._name} would run {known} when it is loaded, which no checkpoint needs")
        return super().find_class(module, name)


def _is_dtype(module: str, name: str) -> bool:
    import torch

    return module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
