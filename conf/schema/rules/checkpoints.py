"""Rules of how checkpoints are written and which of them stay."""

from collections.abc import Iterator

from conf.schema.rules.reading import DEEPSPEED, evaluates_during_training, has_held_out_rows
from conf.schema.rules.registry import Finding, rule
from conf.schema.run import RunConfig


@rule(
    "checkpoint-best",
    reads=(
        "checkpoint.keep_best", "evaluation.interval", "evaluation.per_epoch", "evaluation.max_rows", "data.source",
        "data.eval_path", "data.eval_sets", "data.eval_rows", "data.eval_fraction",
    ),
    reason="the best checkpoint is the one with the lowest held-out loss",
    fix="hold rows out and evaluate during training, or leave checkpoint.keep_best out",
    warning=True,
)  # fmt: skip
def checkpoint_best(config: RunConfig) -> Iterator[Finding]:
    if not config.checkpoint.keep_best:
        return
    if not has_held_out_rows(config):
        yield (
            "checkpoint.keep_best",
            "checkpoint.keep_best=true compares held-out losses, and no rows are held out: add data.eval_fraction=0.05",
        )
    elif not evaluates_during_training(config):
        every = config.checkpoint.interval if isinstance(config.checkpoint.interval, int) else 100
        yield (
            "checkpoint.keep_best",
            "checkpoint.keep_best=true compares evaluations during training, and there are none: add "
            f"evaluation.interval={every}",
        )


@rule(
    "checkpoint-asynchronous",
    reads=("checkpoint.asynchronous", "adapter.kind", "parallel.strategy"),
    reason="only full tunes under ddp and fsdp2 are written behind training",
    fix="leave checkpoint.asynchronous out",
    warning=True,
)
def checkpoint_asynchronous(config: RunConfig) -> Iterator[Finding]:
    strategy = config.parallel.strategy
    if not config.checkpoint.asynchronous or not (config.adapter.is_peft or strategy in DEEPSPEED):
        return
    why = (
        f"adapter={config.adapter.kind}: its checkpoints are small, and saved in one go"
        if config.adapter.is_peft
        else f"parallel={strategy}, where DeepSpeed saves in one go; use parallel=fsdp2"
    )
    yield "checkpoint.asynchronous", f"checkpoint.asynchronous=true has no effect with {why}; or leave it out"


@rule(
    "checkpoint-mtbf",
    reads=("checkpoint.mtbf_hours", "checkpoint.interval", "checkpoint.per_epoch"),
    reason="the time between failures decides on checkpoint.interval=auto alone",
    fix="add checkpoint.interval=auto, or leave checkpoint.mtbf_hours out",
    warning=True,
)
def checkpoint_mtbf(config: RunConfig) -> Iterator[Finding]:
    checkpoint = config.checkpoint
    if checkpoint.mtbf_hours is None:
        return
    if checkpoint.interval != "auto":
        yield (
            "checkpoint.mtbf_hours",
            f"checkpoint.mtbf_hours={checkpoint.mtbf_hours:g} has no effect without checkpoint.interval=auto: add it",
        )
    elif checkpoint.per_epoch is not None:
        yield (
            "checkpoint.mtbf_hours",
            f"checkpoint.mtbf_hours={checkpoint.mtbf_hours:g} has no effect beside checkpoint.per_epoch: leave "
            "checkpoint.per_epoch out",
        )
