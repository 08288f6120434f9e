"""derive(config): every value that follows from others, filled in one place."""

import os
import platform
from copy import deepcopy
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from conf.schema.config_json import architecture_from
from conf.schema.resting import resting_bytes
from conf.schema.rows import derive_rows
from conf.schema.run import RunConfig
from conf.schema.sizes import ia3_targets, parameter_count
from conf.schema.trainable import trainable_count

G = TypeVar("G", bound=BaseModel)
PYTHON_DOCS_VERSION = 1
"""Version of the questions made from docstrings; part of the data's digest."""
DEFAULT_GLOBAL_BATCH = 8
"""Sequences per step where nothing is said; rounded up to what the world can divide."""
DEFAULT_WARMUP = 0.03
"""Share of the steps in which the learning rate rises, where nothing is said."""


def derive(config: RunConfig) -> RunConfig:
    """A copy of the config with every derivable None filled in.

    Reads the data file (its digest) and a local model folder's config.json, nothing else. What cannot be derived,
    because a file is missing or the batch contradicts itself, stays None: a rule reports it. Idempotent.
    """
    filled = _copied(config)
    _model(filled)
    _data(filled)
    _method(filled)
    _batch(filled)
    _layout(filled)
    if filled.store.root is None:
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        filled.store.root = os.environ.get("SLURMWRIGHT_STORE") or os.path.join(cache, "slurmwright")
    filled.store.root = os.path.abspath(os.path.expanduser(filled.store.root))
    filled.offline = filled.offline or filled.site.airgap
    filled.run.root = os.path.abspath(os.path.expanduser(filled.run.root))
    return filled


def _copied(group: G) -> G:
    """A deep copy, in less than half the time of `model_copy(deep=True)`: it looks into what can change alone."""
    copy = group.model_copy()
    for name, value in group.__dict__.items():
        if isinstance(value, BaseModel):
            copy.__dict__[name] = _copied(value)
        elif isinstance(value, list | dict):
            copy.__dict__[name] = deepcopy(value)
    return copy


def _model(config: RunConfig) -> None:
    model = config.model
    folder = Path(os.path.expanduser(model.id))
    if model.source in ("auto", "folder") and model.id and os.path.isdir(folder):
        model.source = "folder"
        model.id = str(folder.absolute())
        if model.architecture is None:
            model.architecture = architecture_from(folder / "config.json")
    if model.parameters is None and model.architecture is not None:
        model.parameters = parameter_count(model.architecture)
    adapter = config.adapter
    if adapter.targets is None and adapter.kind == "ia3" and model.architecture is not None:
        adapter.targets = ia3_targets(model.architecture.family)
    elif adapter.targets is None and adapter.is_peft and adapter.kind != "ia3":
        adapter.targets = model.targets or ["all-linear"]


def _data(config: RunConfig) -> None:
    data = config.data
    if data.source == "python_docs":
        data.digest = f"python_docs-{PYTHON_DOCS_VERSION}-python-{platform.python_version()}"
        return
    derive_rows(data)


def _method(config: RunConfig) -> None:
    method = config.method
    if method.learning_rate is None:
        method.learning_rate = suggested_learning_rate(config)
    if method.epochs is None and method.max_steps is None:
        method.epochs = config.data.epochs
    if method.warmup is None:
        method.warmup = 0.0 if method.schedule == "constant" else DEFAULT_WARMUP
    if method.gradient_checkpointing is None:
        method.gradient_checkpointing = config.gpu.device == "cuda"


def suggested_learning_rate(config: RunConfig) -> float:
    """Peak learning rate where none is given: the adapter's, scaled to the model's width, to two digits.

    The best rate falls with width as width^-0.781 (Schulman et al. 2025, "LoRA Without Regret", Thinking Machines Lab,
    fitted on Llama models); an adapter states its rate for a width of 4096. An unknown width takes it as it is.
    """
    shape = config.model.architecture
    width = shape.hidden_size if shape is not None else 4096
    return float(f"{config.adapter.learning_rate * (4096 / width) ** 0.781:.1e}")


def _batch(config: RunConfig) -> None:
    """Fill batch.global, micro and accumulation; leave what contradicts itself for rule `batch-arithmetic`."""
    batch, world = config.batch, config.world_size
    if batch.global_ is None and batch.micro is None and batch.accumulation is None:
        batch.global_ = -(-DEFAULT_GLOBAL_BATCH // world) * world
    if batch.global_ is None:
        if batch.micro is None:
            batch.micro = preferred_micro(config)
        if batch.accumulation is None:
            batch.accumulation = -(-DEFAULT_GLOBAL_BATCH // (world * batch.micro))
        batch.global_ = world * batch.micro * batch.accumulation
        return
    share, rest = divmod(batch.global_, world)
    if rest or not share:
        return
    if batch.micro is None and batch.accumulation is None:
        batch.micro = max(size for size in range(1, preferred_micro(config) + 1) if share % size == 0)
    if batch.micro is None and batch.accumulation is not None and share % batch.accumulation == 0:
        batch.micro = share // batch.accumulation
    elif batch.accumulation is None and batch.micro is not None and share % batch.micro == 0:
        batch.accumulation = share // batch.micro


def preferred_micro(config: RunConfig) -> int:
    """Micro batch where nothing is said.

    Small for large models, since no memory estimate stands behind it yet; 1 on a CPU, which computes padding at the
    price of rows."""
    if config.gpu.device == "cpu":
        return 1
    parameters = config.model.parameters or 10**10
    return 1 if parameters >= 10**10 else 2 if parameters >= 10**9 else 4


BYTES_FULL = 16
"""Bytes a parameter under mixed-precision AdamW: weights 2, gradients 2, fp32 copy 4, two moments 8
(Rajbhandari et al. 2020, arXiv:1910.02054, section 3.1)."""
DDP_SHARE = 0.6
"""Share of a device that weights and optimiser states may take before `auto` shards them; the rest is activations."""


def _layout(config: RunConfig) -> None:
    if config.precision.compute == "auto":
        capability = config.gpu.compute_capability
        if config.gpu.device == "cpu":
            config.precision.compute = "fp32"
        else:
            config.precision.compute = "fp16" if capability is not None and capability < 8.0 else "bf16"
    if config.parallel.strategy == "auto":
        config.parallel.strategy = "ddp" if _fits_one_device(config) else "fsdp2"


def _fits_one_device(config: RunConfig) -> bool:
    if config.gpu.memory_gib is None or config.model.parameters is None or config.world_size == 1:
        return True
    adapter, shape, count = config.adapter, config.model.architecture, config.model.parameters
    # Scales and what bitsandbytes pads come to about 15 % of packed weights.
    resting = (resting_bytes(config) or 2 * count) * (115 if adapter.bits else 100) // 100
    trained = 0 if adapter.is_peft else count
    if adapter.kind == "freeze" and shape is not None:
        trained = trainable_count(shape, adapter) or count
    needed = trained * BYTES_FULL + (resting if adapter.is_peft else (count - trained) * 2)
    return needed <= DDP_SHARE * config.gpu.memory_gib * 2**30
