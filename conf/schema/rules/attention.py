"""Rules of attention kernels: against device, format, the model's kind of attention, and packing."""

from collections.abc import Iterator

from conf.schema.rules.precision import older_than_ampere
from conf.schema.rules.registry import Finding, rule
from conf.schema.run import RunConfig

_FLASH = ("flash_attention_2", "flash_attention_3")
_WIDEST_HEAD = 256
"""Widest head that flash-attn has kernels for."""
_MUCH_MEMORY = 8
"""GiB of attention scores in one layer from which on a warning is worth it."""


@rule(
    "attention-device",
    reads=("model.attention", "gpu.device"),
    reason="flash-attn has kernels for GPUs alone",
    fix="use model.attention=sdpa on a CPU",
    fails="transformers raises ImportError: FlashAttention is not available on CPU",
)
def attention_device(config: RunConfig) -> Iterator[Finding]:
    if config.model.attention in _FLASH and config.gpu.device == "cpu":
        yield "model.attention", f"model.attention={config.model.attention} needs a GPU: use model.attention=sdpa"


@rule(
    "attention-format",
    reads=("model.attention", "gpu.device", "precision.compute"),
    reason="flash-attn computes in 16-bit formats alone",
    fix="compute in bf16 or fp16, or use model.attention=sdpa",
    fails="flash-attn raises RuntimeError: FlashAttention only support fp16 and bf16 data type",
)
def attention_format(config: RunConfig) -> Iterator[Finding]:
    if config.model.attention in _FLASH and config.gpu.device == "cuda" and config.precision.compute == "fp32":
        yield (
            "precision.compute",
            f"model.attention={config.model.attention} needs 16-bit formats: use precision.compute=bf16, or "
            "model.attention=sdpa",
        )


@rule(
    "attention-generation",
    reads=("model.attention", "gpu.device", "gpu.compute_capability"),
    reason="flash-attn 2 needs NVIDIA's compute capability 8.0, flash-attn 3 an NVIDIA GPU of 8.0 or later",
    fix="use model.attention=sdpa on this device",
    fails="flash-attn raises RuntimeError: FlashAttention only supports Ampere GPUs or newer; transformers refuses "
    "FlashAttention3 there with ImportError",
)
def attention_generation(config: RunConfig) -> Iterator[Finding]:
    kernel, capability = config.model.attention, config.gpu.compute_capability
    if kernel not in _FLASH or config.gpu.device == "cpu":
        return
    if older_than_ampere(config):
        yield (
            "model.attention",
            f"model.attention={kernel} needs compute capability 8.0, and {config.gpu.name} has {capability}: use "
            "model.attention=sdpa",
        )
    elif kernel == "flash_attention_3" and capability is None:
        yield (
            "model.attention",
            f"model.attention=flash_attention_3 has no kernels for {config.gpu.name}: use "
            "model.attention=flash_attention_2 or sdpa",
        )


@rule(
    "attention-head",
    reads=("model.attention", "model.architecture"),
    reason="flash-attn has kernels for heads up to 256 wide",
    fix="use model.attention=sdpa for models with wider heads",
    fails="flash-attn raises RuntimeError: FlashAttention forward only supports head dimension at most 256",
)
def attention_head(config: RunConfig) -> Iterator[Finding]:
    shape = config.model.architecture
    if config.model.attention in _FLASH and shape is not None and shape.head_dim > _WIDEST_HEAD:
        yield (
            "model.attention",
            f"the heads of {config.model.name} are {shape.head_dim} wide, and {config.model.attention} takes at most "
            f"{_WIDEST_HEAD}: use model.attention=sdpa",
        )


@rule(
    "flex-device",
    reads=("model.attention", "gpu.device"),
    reason="torch's flex_attention has no backward pass on a CPU",
    fix="use model.attention=sdpa on a CPU",
    fails="torch raises NotImplementedError: FlexAttention does not support backward on CPU",
)
def flex_device(config: RunConfig) -> Iterator[Finding]:
    if config.model.attention == "flex_attention" and config.gpu.device == "cpu":
        yield "model.attention", "model.attention=flex_attention cannot train on a CPU: use model.attention=sdpa"


@rule(
    "attention-softcapping",
    reads=("model.attention", "model.architecture"),
    reason="sdpa cannot squash attention scores, as the model needs",
    fix="use model.attention=eager, or flash_attention_2 on a GPU",
    fails="transformers raises ValueError: does not support an attention implementation through "
    "torch.nn.functional.scaled_dot_product_attention",
)
def attention_softcapping(config: RunConfig) -> Iterator[Finding]:
    shape = config.model.architecture
    if config.model.attention == "sdpa" and shape is not None and shape.attn_logit_softcapping is not None:
        other = "eager" if config.gpu.device == "cpu" else "flash_attention_2, or eager"
        yield (
            "model.attention",
            f"model.attention=sdpa cannot bound attention scores to {shape.attn_logit_softcapping:g}, as "
            f"{config.model.name} needs: use model.attention={other}",
        )


@rule(
    "attention-memory",
    reads=("model.attention", "data.max_length", "batch.micro", "model.architecture", "precision.compute"),
    reason="eager attention writes all scores out, heads x length x length of them",
    fix="use a fused kernel (sdpa, flash_attention_2), or shorter sequences",
    warning=True,
)
def attention_memory(config: RunConfig) -> Iterator[Finding]:
    shape, length = config.model.architecture, config.data.max_length
    if config.model.attention != "eager" or shape is None:
        return
    width = 4 if config.precision.compute == "fp32" else 2
    gib = (config.batch.micro or 1) * shape.num_attention_heads * length**2 * width // 2**30
    if gib >= _MUCH_MEMORY:
        yield (
            "model.attention",
            f"model.attention=eager holds {gib} GiB of attention scores for each layer at data.max_length={length}:"
            " use model.attention=sdpa where the model allows it, or a smaller data.max_length",
        )


@rule(
    "packing-remote-code",
    reads=("data.packing", "model.trust_remote_code"),
    reason="packed rows are kept apart by positions, which code of the model's own may not look at",
    fix="switch packing off, or use the model's class in transformers (model.trust_remote_code=false)",
    warning=True,
)
def packing_remote_code(config: RunConfig) -> Iterator[Finding]:
    if config.data.packing and config.model.trust_remote_code:
        yield (
            "data.packing",
            "data.packing=true relies on attention that starts anew where position_ids do, as transformers' own models "
            "have it; code that comes with weights may let packed rows see each other: use data.packing=false, or "
            "model.trust_remote_code=false",
        )
