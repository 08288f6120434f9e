"""Rules of how a model is laid over workers, and of kernels that need a device or a kind of model."""

from collections.abc import Iterator

from conf.schema.rules.reading import DEEPSPEED, SHARDED
from conf.schema.rules.registry import Finding, rule
from conf.schema.run import RunConfig

_LIGER = (
    "llama", "mistral", "mixtral", "gemma", "gemma2", "gemma3_text", "qwen2", "qwen3", "qwen3_moe", "phi3", "granite",
    "olmo2",
)  # fmt: skip
"""Families that liger-kernel has kernels for (its table MODEL_TYPE_TO_APPLY_LIGER_FN)."""


@rule(
    "offload-strategy",
    reads=("parallel.offload", "parallel.strategy"),
    reason="what rests in host memory is a matter of the layout",
    fix="use optimizer with zero1, zero2 or zero3, parameters with zero3 or fsdp2",
    fails="no other layout moves anything: the run needs the memory that it was to save",
)
def offload_strategy(config: RunConfig) -> Iterator[Finding]:
    offload, strategy = config.parallel.offload, config.parallel.strategy
    allowed = {"none": (strategy,), "optimizer": DEEPSPEED, "parameters": SHARDED}[offload]
    if strategy not in allowed:
        others = " or ".join(f"parallel={name}" for name in allowed)
        yield (
            "parallel.offload",
            f"parallel.offload={offload} has no effect with parallel={strategy}: use {others}, or "
            "parallel.offload=none",
        )


@rule(
    "offload-device",
    reads=("parallel.offload", "gpu.device"),
    reason="a CPU's memory is the host's",
    fix="leave parallel.offload out on a CPU",
    warning=True,
)
def offload_device(config: RunConfig) -> Iterator[Finding]:
    if config.parallel.offload != "none" and config.gpu.device == "cpu":
        yield (
            "parallel.offload",
            f"parallel.offload={config.parallel.offload} saves nothing on a CPU, whose memory is the host's: leave it "
            "out",
        )


@rule(
    "reshard-unused",
    reads=("parallel.reshard", "parallel.strategy"),
    reason="reshard is an option of FSDP2",
    fix="leave parallel.reshard out, or use parallel=fsdp2",
    warning=True,
)
def reshard_unused(config: RunConfig) -> Iterator[Finding]:
    if not config.parallel.reshard and config.parallel.strategy != "fsdp2":
        yield (
            "parallel.reshard",
            f"parallel.reshard=false has no effect with parallel={config.parallel.strategy}: leave it out, or use "
            "parallel=fsdp2",
        )


@rule(
    "sharding-alone",
    reads=("parallel.strategy", "parallel.offload", "cluster.nodes", "cluster.devices_per_node"),
    reason="one worker has nobody to share with",
    fix="use parallel=ddp on one device, or more devices",
    warning=True,
)
def sharding_alone(config: RunConfig) -> Iterator[Finding]:
    parallel = config.parallel
    if config.world_size == 1 and parallel.strategy != "ddp" and parallel.offload == "none":
        yield (
            "parallel.strategy",
            f"parallel={parallel.strategy} has nothing to share out on one device: use parallel=ddp, or a cluster of "
            "more",
        )


@rule(
    "liger-device",
    reads=("method.liger", "gpu.device"),
    reason="liger-kernel is written in Triton, for GPUs",
    fix="leave method.liger out on a CPU",
    fails="Triton raises RuntimeError: 0 active drivers, or liger-kernel cannot be imported",
)
def liger_device(config: RunConfig) -> Iterator[Finding]:
    if config.method.liger and config.gpu.device == "cpu":
        yield "method.liger", "method.liger=true needs a GPU: use method.liger=false"


@rule(
    "liger-family",
    reads=("method.liger", "model.architecture"),
    reason="liger-kernel has kernels for some families of models",
    fix="leave method.liger out with other families",
    warning=True,
)
def liger_family(config: RunConfig) -> Iterator[Finding]:
    shape = config.model.architecture
    if config.method.liger and shape is not None and shape.family not in _LIGER:
        yield (
            "method.liger",
            f"method.liger=true has no effect, since liger-kernel knows no {shape.family} models: leave it out",
        )


@rule(
    "compile-sharding",
    reads=("method.compile", "parallel.strategy"),
    reason="DeepSpeed's hooks that gather parameters break compiled graphs apart",
    fix="use parallel=ddp or fsdp2 with method.compile=true",
    warning=True,
)
def compile_sharding(config: RunConfig) -> Iterator[Finding]:
    if config.method.compile and config.parallel.strategy == "zero3":
        yield (
            "method.compile",
            "method.compile=true gains little with parallel=zero3, whose hooks break the graph at every layer: use "
            "parallel=fsdp2, or method.compile=false",
        )
