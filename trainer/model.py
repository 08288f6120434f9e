"""A run's model, from the store's folder."""

import importlib.util
from pathlib import Path
from typing import Any

from conf.schema.run import RunConfig
from trainer import positions
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
    arguments = load_arguments(config)
    changed = positions.configuration(path, config.model)
    if changed is not None:
        arguments["config"] = changed
    model = AutoModelForCausalLM.from_pretrained(str(path), **arguments)
    model.config.use_cache = False
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            # On CPUs with AVX512-BF16 bitsandbytes 0.50 repacks 4-bit weights in place when it first evaluates:
            # training would go on with other roundings than without, and FSDP's gathered weights would be ruined.
            module.support_avx512bf16_for_cpu = False
    return model


def call(model: Any, place: str) -> None:
    """Name a model after where its weights stay, not after a copy on a node's disk: adapters name their base so."""
    model.name_or_path = place
    model.config.name_or_path = place


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


def base_of_artefact(config: RunConfig) -> RunConfig:
    """The config whose base weights the run's adapter fits: quantised ones where init=loftq has made up for that."""
    if not config.adapter.is_peft or config.adapter.init != "loftq" or config.adapter.bits is not None:
        return config
    base = config.model_copy(deep=True)
    base.adapter.bits = config.adapter.loftq_bits
    base.adapter.quant_type, base.adapter.double_quant = "nf4", False
    return base


def compute_dtype(config: RunConfig) -> Any:
    """torch dtype of the computation."""
    import torch

    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(config.precision.compute, torch.float32)


def resting_dtype(config: RunConfig) -> Any:
    """torch dtype that weights are loaded in.

    Trained weights under ddp and fsdp2 stay in float32 and compute in bf16 or fp16 (autocast), since steps of AdamW are
    often too small for bf16 to hold; precision.weights=bf16 keeps them in bf16. DeepSpeed has float32 copies of its
    own. Frozen weights are loaded as they compute."""
    import torch

    if config.adapter.kind == "full" and config.precision.weights == "bf16":
        return torch.bfloat16
    if config.adapter.kind == "full" and config.parallel.strategy in ("ddp", "fsdp2"):
        return torch.float32
    return compute_dtype(config)


def attention(config: RunConfig) -> str | None:
    """The attention kernel: the one that was chosen, else flash_attention_2 where it is installed and can run.

    None leaves it to transformers, which takes sdpa where the model's class has it, and eager where not: Gemma 2 bounds
    attention scores (attn_logit_softcapping), and its class refuses sdpa by name (seen with transformers 5.23). Flash
    bounds them too."""
    if config.model.attention != "auto":
        return config.model.attention
    flash = config.gpu.device == "cuda" and config.precision.compute in ("bf16", "fp16")
    return "flash_attention_2" if flash and importlib.util.find_spec("flash_attn") else None


def quantisation(config: RunConfig) -> Any:
    """bitsandbytes' config of the frozen weights: 8 bits, or 4 bits in adapter.quant_type, with double quantisation
    (Dettmers et al. 2023, arXiv:2305.14314) where adapter.double_quant says so."""
    from transformers import BitsAndBytesConfig

    if config.adapter.bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True)
    dtype = compute_dtype(config)
    # FSDP2 shards floating-point tensors alone: packed weights are stored as if they were what they compute in.
    storage = {"bnb_4bit_quant_storage": dtype} if config.parallel.strategy == "fsdp2" else {}
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=config.adapter.quant_type,
        bnb_4bit_use_double_quant=config.adapter.double_quant,
        bnb_4bit_compute_dtype=dtype,
        **storage,
    )


def _local_device() -> int:
    import torch

    return torch.cuda.current_device()
