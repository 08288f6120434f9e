"""Rules of what cannot fit: lower bounds of weights and optimiser states against the memory of devices and nodes."""

import re
from collections.abc import Iterator

from conf.schema.resting import resting_bytes
from conf.schema.rules.reading import SHARDED
from conf.schema.rules.registry import Finding, rule
from conf.schema.run import RunConfig

_GIB = 2**30
_FILLED = 0.6
"""Share of a device that weights and states may take in what is advised; the rest is activations."""
_ADAMW = ("adamw", "adamw_fused", "paged_adamw", "schedule_free", "stable_adamw", "ademamix")
"""Optimisers with at least two states of 4 bytes for each parameter."""


@rule(
    "weights-memory",
    reads=("model.architecture", "model.parameters", "gpu.memory_gib", "adapter.bits", "parallel.strategy",
           "parallel.offload", "precision.compute"),
    reason="where nothing shards them, a device holds all weights",
    fix="shard the weights (parallel=fsdp2 and more devices), quantise them, or take a larger device",
    fails="torch raises OutOfMemoryError while the weights are put on the device",
)  # fmt: skip
def weights_memory(config: RunConfig) -> Iterator[Finding]:
    held, memory = resting_bytes(config), config.gpu.memory_gib
    if held is None or memory is None or config.parallel.strategy in SHARDED:
        return
    if held > memory * _GIB:
        devices = _pieces(held, memory)
        bits = "" if config.adapter.bits or not config.adapter.is_peft else ", or adapter=qlora"
        yield (
            "parallel.strategy",
            f"the weights of {config.model.name} take {held // _GIB} GiB, a {config.gpu.name} has {memory:.0f} GiB, "
            f"and parallel={config.parallel.strategy} keeps a whole copy on each: use parallel=fsdp2 on {devices} "
            f"devices or more{bits}",
        )


@rule(
    "shards-memory",
    reads=("model.architecture", "model.parameters", "gpu.memory_gib", "adapter.bits", "parallel.strategy",
           "parallel.offload", "precision.compute", "cluster.nodes", "cluster.devices_per_node"),
    reason="all devices together must hold the weights",
    fix="take more devices, quantise, or offload parameters",
    warning=True,
)  # fmt: skip
def shards_memory(config: RunConfig) -> Iterator[Finding]:
    held, memory, world = resting_bytes(config), config.gpu.memory_gib, config.world_size
    if held is None or memory is None or config.parallel.strategy not in SHARDED:
        return
    if config.parallel.offload != "parameters" and held // world > memory * _GIB:
        nodes = -(-_pieces(held, memory) // config.cluster.devices_per_node)
        yield (
            "cluster.nodes",
            f"the weights of {config.model.name} take {held // _GIB} GiB, {held // world // _GIB} GiB on each of "
            f"{world} devices, and a {config.gpu.name} has {memory:.0f} GiB: use cluster.nodes={nodes} or more, or "
            "parallel.offload=parameters",
        )


@rule(
    "training-memory",
    reads=("adapter.kind", "method.optimizer", "precision.weights", "precision.compute", "model.parameters",
           "gpu.memory_gib", "parallel.strategy", "parallel.offload", "cluster.nodes", "cluster.devices_per_node"),
    reason="full tuning holds weights, gradients and two states of the optimiser for each parameter, 16 bytes in all",
    fix="shard them over more devices, train an adapter, or take an optimiser with smaller states",
    fails="torch raises OutOfMemoryError at the first step of the optimiser",
)  # fmt: skip
def training_memory(config: RunConfig) -> Iterator[Finding]:
    memory, count, strategy, world = (
        config.gpu.memory_gib, config.model.parameters, config.parallel.strategy, config.world_size,
    )  # fmt: skip
    if memory is None or count is None or config.adapter.kind != "full" or config.parallel.offload != "none":
        return
    if config.method.optimizer not in _ADAMW or config.precision.weights == "bf16":
        return
    # Rajbhandari et al. 2020, arXiv:1910.02054, section 3.1; FSDP2 and DDP keep the weights themselves in fp32.
    whole, shared = {"ddp": (16, 0), "zero1": (4, 12), "zero2": (2, 14)}.get(strategy, (0, 16))
    needed = count * whole + count * shared // world
    if needed <= memory * _GIB:
        return
    enough = -(-_pieces(16 * count, memory) // config.cluster.devices_per_node)
    way = "" if strategy in SHARDED else "parallel=fsdp2 "
    yield (
        "adapter.kind",
        f"full tuning of {config.model.name} with {config.method.optimizer} needs {needed // _GIB} GiB on each "
        f"device, and a {config.gpu.name} has {memory:.0f} GiB: use {way}cluster.nodes={enough} or more, or "
        "adapter=lora",
    )


@rule(
    "offload-memory",
    reads=("parallel.offload", "site.mem", "model.parameters", "cluster.nodes", "precision.compute"),
    reason="what is offloaded rests in the memory of the nodes",
    fix="ask for more memory (site.mem=0 is all of a node), or more nodes",
    fails="the kernel's out-of-memory killer ends the workers, and Slurm records OUT_OF_MEMORY",
)
def offload_memory(config: RunConfig) -> Iterator[Finding]:
    asked, held = memory_of_node(config.site.mem), resting_bytes(config)
    if config.parallel.offload != "parameters" or asked is None or held is None:
        return
    share = held // config.cluster.nodes
    if share > asked:
        yield (
            "site.mem",
            f"parallel.offload=parameters puts {share // _GIB} GiB of weights into the memory of each node, and "
            f"site.mem={config.site.mem} asks for {asked // _GIB} GiB: use site.mem={share * 3 // 2 // _GIB + 1}G or "
            "more",
        )


def _pieces(held: int, memory: float) -> int:
    """Devices that hold so many bytes among them, with room for activations."""
    return -(-held // max(1, int(_FILLED * memory * _GIB)))


def memory_of_node(text: str | None) -> int | None:
    """Bytes that site.mem asks for; None where it names no number (not given, `0`, or not to be read)."""
    found = re.fullmatch(r"(\d+)([KMGT]?)B?", text or "", re.IGNORECASE)
    if found is None or int(found[1]) == 0:
        return None
    exponent = {"K": 1, "": 2, "M": 2, "G": 3, "T": 4}[found[2].upper()]
    return int(found[1]) << 10 * exponent
