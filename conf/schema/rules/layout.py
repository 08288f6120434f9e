"""Rules between adapter, precision, devices and the layout over workers."""

from collections.abc import Iterator

from conf.schema.rules.registry import Finding, rule
from conf.schema.run import RunConfig


@rule("quantised-full", reads=("adapter.kind", "adapter.bits"), reason="quantised weights have no gradients")
def quantised_full(config: RunConfig) -> Iterator[Finding]:
    if config.adapter.kind == "full" and config.adapter.bits is not None:
        yield (
            "adapter.bits",
            f"adapter.bits={config.adapter.bits} cannot be combined with full tuning, since transformers refuses to "
            "train quantised weights: use adapter=qlora, or adapter.bits=null",
        )


@rule(
    "quantised-sharding",
    reads=("adapter.bits", "parallel.strategy"),
    reason="bitsandbytes' packed weights cannot be partitioned by ZeRO-3, nor 8-bit ones by FSDP2",
)
def quantised_sharding(config: RunConfig) -> Iterator[Finding]:
    bits, strategy = config.adapter.bits, config.parallel.strategy
    if bits is not None and (strategy == "zero3" or (bits == 8 and strategy == "fsdp2")):
        yield (
            "parallel.strategy",
            f"parallel={strategy} cannot shard weights of {bits} bits: use parallel=ddp or parallel=zero2",
        )


@rule("bf16-device", reads=("precision.compute", "gpu.device"), reason="bf16 on a CPU is emulated", warning=True)
def bf16_device(config: RunConfig) -> Iterator[Finding]:
    if config.precision.compute == "bf16" and config.gpu.device == "cpu":
        yield "precision.compute", "bf16 on a CPU is slow: use precision.compute=fp32"


@rule(
    "attention-device",
    reads=("model.attention", "gpu.device", "precision.compute"),
    reason="flash-attn has kernels for 16-bit formats on CUDA alone",
)
def attention_device(config: RunConfig) -> Iterator[Finding]:
    if config.model.attention != "flash_attention_2":
        return
    if config.gpu.device == "cpu":
        yield "model.attention", "model.attention=flash_attention_2 needs a CUDA device: use model.attention=sdpa"
    elif config.precision.compute == "fp32":
        yield "precision.compute", "model.attention=flash_attention_2 needs 16-bit formats: use precision.compute=bf16"


@rule(
    "model-unknown",
    reads=("model.id", "model.architecture", "model.source"),
    reason="nothing is fetched before submission is asked for, so the sizes of a hub model are not known to a plan",
    warning=True,
)
def model_unknown(config: RunConfig) -> Iterator[Finding]:
    model = config.model
    if model.id and model.architecture is None and model.source in ("auto", "hub"):
        yield (
            "model.id",
            f"{model.id} is not in the catalogue: its size is not known, and whether the hub has it shows when the run "
            "is prepared. parallel=auto takes it to fit one device, and data.max_length is not checked",
        )
