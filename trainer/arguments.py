"""The arguments of TRL's SFTConfig, which are transformers' TrainingArguments and its own."""

import importlib.util
import inspect
import math
from typing import Any, Literal

from trl import SFTConfig

from conf.folder import RunFolder
from conf.schema.run import RunConfig
from trainer import optimizers, parallel
from trainer.failure import WorkerError


def check(config: RunConfig) -> None:
    """Raise WorkerError where a package that the config asks for is missing here, or its parts do not fit."""
    optimizers.check(config)
    if config.method.liger and importlib.util.find_spec("liger_kernel") is None:
        raise WorkerError(
            "method.liger=true needs the package liger-kernel, which is not installed: pip install liger-kernel, or "
            "leave method.liger out"
        )


def total_steps(config: RunConfig, sequences: int) -> int:
    """Optimizer steps of the run over `sequences` training sequences (after packing).

    Passes follow each other without a gap: a global batch may hold the end of one and the start of the next, so that
    every step has all its sequences. Only the last step is filled up, from one pass more."""
    if config.method.max_steps is not None:
        return config.method.max_steps
    assert config.method.epochs is not None and config.batch.global_ is not None
    return max(1, math.ceil(config.method.epochs * sequences / config.batch.global_))


def interval(
    fixed: int | Literal["auto"] | None, per_epoch: float | None, config: RunConfig, sequences: int, steps: int
) -> int:
    """Steps between two checkpoints or evaluations of a run of `steps` over `sequences` training sequences.

    `per_epoch` of them in one pass stands above `fixed`; with neither there is one, at the end. So it is with `auto`:
    what comes before is decided while the run goes on."""
    if per_epoch is None:
        return steps if fixed is None or fixed == "auto" else fixed
    assert config.batch.global_ is not None
    return max(1, round(sequences / config.batch.global_ / per_epoch))


def arguments(
    config: RunConfig, folder: RunFolder, sequences: int, steps: int, evaluate: bool, resume: bool
) -> dict[str, Any]:
    """Arguments of TRL's SFTConfig. The forms for GPUs have not yet been run on a GPU.

    Raises TypeError where the installed TRL does not know one. What TRL switches on by itself (bf16, recomputation of
    activations, its own cutting and packing of rows) is always said. Optimiser and schedule are made by RunTrainer."""
    strategy = config.parallel.strategy
    recompute = bool(config.method.gradient_checkpointing)
    found: dict[str, Any] = {
        "output_dir": str(folder.checkpoints),
        "seed": config.seed,
        "use_cpu": config.gpu.device == "cpu",
        # Rows: prepared, labelled and packed before; TRL puts them into batches and no more.
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "max_length": config.data.max_length,
        "packing": config.data.packing,
        "packing_strategy": "bfd",
        "padding_free": False,
        "pad_to_multiple_of": None,
        "shuffle_dataset": False,
        "completion_only_loss": False,
        "assistant_only_loss": False,
        "accelerator_config": {"split_batches": False, "dispatch_batches": False, "even_batches": True},
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": config.gpu.device == "cuda",
        # Steps.
        "per_device_train_batch_size": config.batch.micro,
        "per_device_eval_batch_size": config.batch.evaluation or config.batch.micro,
        "gradient_accumulation_steps": config.batch.accumulation,
        "max_steps": steps,
        "average_tokens_across_devices": True,
        "loss_type": config.method.loss,
        "neftune_noise_alpha": config.method.neftune_alpha,
        "learning_rate": config.method.learning_rate,
        "max_grad_norm": config.method.max_grad_norm,
        # Numbers and memory.
        "bf16": config.precision.compute == "bf16",
        "fp16": config.precision.compute == "fp16",
        # Not said, torch's own setting stays; said, transformers asks for a GPU that has it.
        "tf32": True if config.precision.tf32 and config.gpu.device == "cuda" else None,
        "use_liger_kernel": config.method.liger,
        "torch_compile": config.method.compile,
        "use_cache": False,
        "activation_checkpointing": recompute,
        # DeepSpeed's ZeRO-3 with PEFT recomputes correctly in the reentrant way alone (deepspeedai/DeepSpeed#8130).
        "activation_checkpointing_kwargs": {"use_reentrant": strategy == "zero3" and config.adapter.is_peft},
        # When.
        "logging_strategy": "steps",
        "logging_steps": config.tracking.interval,
        "logging_nan_inf_filter": False,
        "eval_strategy": "steps" if evaluate else "no",
        "eval_steps": interval(config.evaluation.interval, config.evaluation.per_epoch, config, sequences, steps),
        "eval_on_start": evaluate and not resume,
        "save_strategy": "steps",
        "save_steps": interval(config.checkpoint.interval, config.checkpoint.per_epoch, config, sequences, steps),
        # Reports are ours.
        "report_to": "none",
        "disable_tqdm": True,
        # Without this, DDP lays gradients into other buckets after the first step of each attempt, and with more than
        # two workers the order in which gloo adds depends on the place in a bucket: a resume would differ.
        "ddp_find_unused_parameters": config.gpu.device == "cpu",
        "trust_remote_code": config.model.trust_remote_code,
    }
    if strategy == "fsdp2":
        found |= {"fsdp": True, "fsdp_config": parallel.fsdp_arguments(config)}
    if strategy in parallel.ZERO:
        found["deepspeed"] = parallel.deepspeed_arguments(config)
    inspect.signature(SFTConfig).bind(**found)
    return found


def settle(found: dict[str, Any]) -> Any:
    """TRL's SFTConfig of `arguments`."""
    return SFTConfig(**found)
