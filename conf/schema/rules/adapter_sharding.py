"""Rules of adapters against the parallel layout: what cannot be trained, or goes wrong, where weights are sharded."""

from collections.abc import Iterator

from conf.schema.rules.registry import Finding, rule
from conf.schema.run import RunConfig

LAYOUT = ("adapter.bits", "parallel.strategy", "cluster.nodes", "cluster.devices_per_node")
"""What decides whether an output layer can be trained beside an adapter."""
_OUTPUT = "lm_head"


@rule(
    "adalora-sharding",
    reads=("adapter.kind", "parallel.strategy"),
    reason="AdaLoRA looks at gradients after each backward pass, whole and by parameter",
    fix="use parallel=ddp with adapter.kind=adalora",
    fails="DeepSpeed keeps gradients elsewhere: PEFT's RankAllocator raises TypeError: unsupported operand type(s) for "
    "*: 'Parameter' and 'NoneType', or DeepSpeed ValueError: Gradients are only available immediately after backward; "
    "of FSDP2's sharded tensors torch raises AssertionError",
)
def adalora_sharding(config: RunConfig) -> Iterator[Finding]:
    if config.adapter.kind == "adalora" and config.parallel.strategy != "ddp":
        yield (
            "parallel.strategy",
            f"adapter.kind=adalora cannot see the gradients under parallel={config.parallel.strategy}: use "
            "parallel=ddp, or adapter=lora",
        )


@rule(
    "vera-sharding",
    reads=("adapter.kind", "adapter.bits", "parallel.strategy"),
    reason="VeRA's random matrices are no parameters, and FSDP2 shards parameters alone",
    fix="use parallel=ddp, zero2 or zero3 with adapter.kind=vera",
    fails="accelerate raises AttributeError: 'Tensor' object has no attribute 'device_mesh', before the first step",
)
def vera_sharding(config: RunConfig) -> Iterator[Finding]:
    if config.adapter.kind == "vera" and config.parallel.strategy == "fsdp2":
        yield (
            "parallel.strategy",
            "parallel=fsdp2 cannot share out adapter.kind=vera, whose random matrices are no parameters: use "
            f"{_other_layouts(config)}, or adapter=lora",
        )


@rule(
    "loftq-sharding",
    reads=("adapter.init", "parallel.strategy"),
    reason="LoftQ looks at each frozen weight whole",
    fix="use ddp, fsdp2, zero1 or zero2 with adapter.init=loftq",
    fails="under ZeRO-3 a worker's parameters are empty tensors, of which the decomposition is empty, too: DeepSpeed "
    "raises AssertionError when it gathers what is trained",
)
def loftq_sharding(config: RunConfig) -> Iterator[Finding]:
    if config.adapter.is_peft and config.adapter.init == "loftq" and config.parallel.strategy == "zero3":
        yield (
            "adapter.init",
            "adapter.init=loftq cannot read weights that parallel=zero3 has taken apart: use parallel=fsdp2, ddp or "
            "zero2",
        )


@rule(
    "output-sharding",
    reads=("adapter.kind", "adapter.modules_to_save", *LAYOUT),
    reason="TRL computes the loss past FSDP2's wrapper of an output layer that is trained beside an adapter",
    fix="use parallel=zero3 or ddp, or leave lm_head out of adapter.modules_to_save",
    fails="gradients of the output layer would be added up over the workers in place of averaged, so the trainer stops "
    "before the first step",
)
def output_sharding(config: RunConfig) -> Iterator[Finding]:
    layouts = layouts_for_output(config)
    if layouts and any(name.rpartition(".")[2] == _OUTPUT for name in config.adapter.modules_to_save):
        yield (
            "parallel.strategy",
            f"under parallel=fsdp2 the output layer ({_OUTPUT} in adapter.modules_to_save) would learn with wrong "
            f"gradients: use {layouts}, or leave {_OUTPUT} out",
        )


def layouts_for_output(config: RunConfig) -> str:
    """What to type to train the output layer beside an adapter; empty where the layout allows it as it is."""
    wrong = config.adapter.is_peft and config.parallel.strategy == "fsdp2" and config.world_size > 1
    return _other_layouts(config) if wrong else ""


def _other_layouts(config: RunConfig) -> str:
    """Instead of fsdp2. ZeRO-3 cannot partition quantised weights (rule quantised-sharding)."""
    return "parallel=zero3 or parallel=ddp" if config.adapter.bits is None else "parallel=ddp or parallel=zero2"
