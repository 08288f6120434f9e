"""Rules of batch arithmetic: global = micro x accumulation x world size."""

from collections.abc import Iterator

from conf.schema.rules.registry import Finding, rule
from conf.schema.run import RunConfig

_FIELDS = ("batch.global", "batch.micro", "batch.accumulation", "cluster.nodes", "cluster.devices_per_node")


@rule("batch-arithmetic", reads=_FIELDS, reason="the global batch is what the user says, to the sequence")
def batch_arithmetic(config: RunConfig) -> Iterator[Finding]:
    batch, world = config.batch, config.world_size
    total, micro, accumulation = batch.global_, batch.micro, batch.accumulation
    if total is None:
        return
    if micro is not None and accumulation is not None:
        product = micro * accumulation * world
        if product != total:
            yield (
                "batch.global",
                f"batch.global={total} contradicts batch.micro={micro} x batch.accumulation={accumulation} x {world} "
                f"workers = {product}: use batch.global={product}, or give only two of the three",
            )
        return
    given = f"batch.micro={micro} x " if micro else f"batch.accumulation={accumulation} x " if accumulation else ""
    unit = (micro or accumulation or 1) * world
    yield (
        "batch.global",
        f"batch.global={total} does not divide by {given}{world} workers: use {nearest_multiples(total, unit)}",
    )


def nearest_multiples(value: int, unit: int) -> str:
    """The multiples of unit on both sides of a value, in words."""
    below = value // unit * unit
    return f"{below} or {below + unit}" if below else f"{unit}"
