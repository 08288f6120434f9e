"""Model and adapter of a run, from the store's folder."""

import importlib.util
from pathlib import Path
from typing import Any, Literal

from conf.schema.run import RunConfig
from trainer.failure import WorkerError


def load_model(path: Path, config: RunConfig) -> Any:
    """The causal language model (a transformers PreTrainedModel), quantised where the adapter says so.

    Raises WorkerError where the folder has pickled weights alone and model.allow_pickle is off.
    """
    from transformers import AutoModelForCausalLM

    if not config.model.allow_pickle and not any(path.glob("*.safetensors")):
        raise WorkerError(
            f"{path} has no safetensors weights, and pickled ones can run any code: convert them, or set "
            "model.allow_pickle=true if you trust who made them"
        )
    model = AutoModelForCausalLM.from_pretrained(str(path), **load_arguments(config))
    model.config.use_cache = False
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            # On CPUs with AVX512-BF16 bitsandbytes 0.50 repacks 4-bit weights in place when it first evaluates:
            # training would go on with other roundings than without, and FSDP's gathered weights would be ruined.
            module.support_avx512bf16_for_cpu = False
    return model


def load_arguments(config: RunConfig) -> dict[str, Any]:
    """Arguments of transformers' from_pretrained. The forms for GPUs have not yet been run on a GPU."""
    arguments: dict[str, Any] = {
        "dtype": resting_dtype(config),
        "attn_implementation": attention(config),
        "trust_remote_code": config.model.trust_remote_code,
        "use_safetensors": None if config.model.allow_pickle else True,
        "local_files_only": True,
    }
    if config.adapter.bits is not None:
        arguments["quantization_config"] = quantisation(config)
        if config.gpu.device == "cuda" and config.parallel.strategy != "fsdp2":
            # bitsandbytes quantises on the device, which it must know before the weights are read.
            arguments["device_map"] = {"": _local_device()}
    return arguments


def compute_dtype(config: RunConfig) -> Any:
    """torch dtype of the computation."""
    import torch

    return torch.bfloat16 if config.precision.compute == "bf16" else torch.float32


def resting_dtype(config: RunConfig) -> Any:
    """torch dtype that weights are loaded in.

    Trained weights under ddp and fsdp2 stay in float32 and compute in bf16 (autocast), since steps of AdamW are often
    too small for bf16 to hold; DeepSpeed keeps its own float32 copy. Frozen weights are loaded as they compute.
    """
    import torch

    if config.adapter.kind == "full" and config.parallel.strategy in ("ddp", "fsdp2"):
        return torch.float32
    return compute_dtype(config)


def attention(config: RunConfig) -> Literal["sdpa", "eager", "flash_attention_2"]:
    """The attention kernel: flash_attention_2 where it is installed and can run, unless one was chosen."""
    if config.model.attention != "auto":
        return config.model.attention
    flash = config.gpu.device == "cuda" and config.precision.compute == "bf16"
    return "flash_attention_2" if flash and importlib.util.find_spec("flash_attn") else "sdpa"


def quantisation(config: RunConfig) -> Any:
    """bitsandbytes' config of the frozen weights: 8 bits, or 4 as NF4 with double quantisation (Dettmers et al. 2023,
    arXiv:2305.14314)."""
    from transformers import BitsAndBytesConfig

    if config.adapter.bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True)
    dtype = compute_dtype(config)
    # FSDP2 shards floating-point tensors alone: packed weights are stored as if they were what they compute in.
    storage = {"bnb_4bit_quant_storage": dtype} if config.parallel.strategy == "fsdp2" else {}
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        **storage,
    )


def adapter(config: RunConfig) -> Any | None:
    """PEFT's LoraConfig, or None when every weight is trained."""
    if config.adapter.kind == "full":
        return None
    from peft import LoraConfig

    targets = config.adapter.targets or ["all-linear"]
    alpha = config.adapter.alpha
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=config.adapter.r,
        lora_alpha=int(alpha) if alpha == int(alpha) else alpha,
        lora_dropout=config.adapter.dropout,
        target_modules="all-linear" if targets == ["all-linear"] else targets,
        modules_to_save=config.adapter.modules_to_save or None,
    )


def _local_device() -> int:
    import torch

    return torch.cuda.current_device()
