"""Rules of frozen weights that rest in 4 or 8 bits: against what is trained, first values, and sharding."""

from collections.abc import Iterator

from conf.schema.rules.registry import Finding, rule
from conf.schema.run import RunConfig
from conf.schema.sizes import matrices


@rule(
    "quantised-full",
    reads=("adapter.kind", "adapter.bits"),
    reason="quantised weights have no gradients",
    fix="train an adapter beside quantised weights, or do not quantise",
    fails="transformers raises ValueError: You cannot perform fine-tuning on purely quantized models",
)
def quantised_full(config: RunConfig) -> Iterator[Finding]:
    if not config.adapter.is_peft and config.adapter.bits is not None:
        what = "full tuning" if config.adapter.kind == "full" else "adapter.kind=freeze"
        yield (
            "adapter.bits",
            f"adapter.bits={config.adapter.bits} cannot be combined with {what}, since transformers refuses to train "
            "quantised weights: use adapter=qlora, or adapter.bits=null",
        )


@rule(
    "quantised-sharding",
    reads=("adapter.bits", "parallel.strategy"),
    reason="bitsandbytes' packed weights cannot be partitioned by ZeRO-3",
    fix="use ddp, zero2, or with 4 bits fsdp2",
    fails="DeepSpeed's zero.Init partitions weights before bitsandbytes has packed them, and loading fails on their "
    "shapes",
)
def quantised_sharding(config: RunConfig) -> Iterator[Finding]:
    bits, strategy = config.adapter.bits, config.parallel.strategy
    if bits is not None and strategy == "zero3":
        others = "parallel=fsdp2 or parallel=ddp" if bits == 4 else "parallel=ddp or parallel=zero2"
        yield "parallel.strategy", f"parallel=zero3 cannot shard weights of {bits} bits: use {others}"


@rule(
    "eight-bit-fsdp2",
    reads=("adapter.bits", "parallel.strategy"),
    reason="FSDP2 shards floating-point tensors, and 8-bit weights are integers",
    fix="use 4 bits, or a strategy that keeps weights whole",
    fails="torch's fully_shard makes plain parameters of bitsandbytes' weights: AttributeError: 'Parameter' object has "
    "no attribute 'CB' in the first forward pass",
)
def eight_bit_fsdp2(config: RunConfig) -> Iterator[Finding]:
    if config.adapter.bits == 8 and config.parallel.strategy == "fsdp2":
        yield (
            "parallel.strategy",
            "parallel=fsdp2 cannot shard weights of 8 bits: use adapter.bits=4, parallel=ddp or parallel=zero2",
        )


@rule(
    "quantised-init",
    reads=("adapter.bits", "adapter.init"),
    reason="these first values are computed from weights in full precision, and what is left must stay in it",
    fix="use adapter.init=loftq or default with quantised weights",
    fails="the trainer stops before the first step: what pissa and olora leave of the weights would be quantised anew; "
    "for orthogonal PEFT raises RuntimeError: Only Tensors of floating point and complex dtype can require gradients",
)
def quantised_init(config: RunConfig) -> Iterator[Finding]:
    adapter = config.adapter
    if adapter.is_peft and adapter.bits is not None and adapter.init in ("pissa", "olora", "orthogonal"):
        yield (
            "adapter.init",
            f"adapter.init={adapter.init} needs weights that are not quantised: use adapter.init=loftq, or "
            "adapter.bits=null",
        )


@rule(
    "quantised-experts",
    reads=("adapter.bits", "model.architecture"),
    reason="transformers keeps experts as one stacked parameter, and bitsandbytes quantises linear layers alone",
    fix="reckon with experts in 16 bits, or choose a dense model",
    warning=True,
)
def quantised_experts(config: RunConfig) -> Iterator[Finding]:
    shape, bits = config.model.architecture, config.adapter.bits
    if bits is None or shape is None or shape.num_experts is None:
        return
    experts = sum(matrix.parameters for matrix in matrices(shape) if matrix.kind == "experts")
    yield (
        "adapter.bits",
        f"adapter.bits={bits} leaves the experts of {config.model.name} as they are ({experts / 1e9:.0f} billion "
        f"parameters, {experts * 2 / 2**30:.0f} GiB in 16 bits): only its other layers are quantised",
    )
