"""Rules of batch arithmetic: global = micro x accumulation x world size."""

from collections.abc import Iterator

from conf.schema.rules.reading import has_held_out_rows
from conf.schema.rules.registry import Finding, rule
from conf.schema.run import RunConfig

_FIELDS = ("batch.global", "batch.micro", "batch.accumulation", "cluster.nodes", "cluster.devices_per_node")


@rule(
    "batch-arithmetic",
    reads=_FIELDS,
    reason="the global batch is what the user says, to the sequence",
    fix="give a batch.global that divides by the workers, or leave one of the three out",
    fails="Trainer knows micro batches and accumulation alone: it would train with another global batch and say "
    "nothing",
)
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


@rule(
    "batch-evaluation-unused",
    reads=("batch.evaluation", "evaluation.max_rows", "data.source", "data.eval_path", "data.eval_sets",
           "data.eval_rows", "data.eval_fraction"),
    reason="without held-out rows nothing is evaluated",
    fix="hold rows out, or leave batch.evaluation out",
    warning=True,
)  # fmt: skip
def batch_evaluation_unused(config: RunConfig) -> Iterator[Finding]:
    if config.batch.evaluation is not None and not has_held_out_rows(config):
        yield (
            "batch.evaluation",
            f"batch.evaluation={config.batch.evaluation} has no effect, since no rows are held out: add "
            "data.eval_fraction=0.05, or leave it out",
        )
