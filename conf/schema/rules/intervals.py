"""Rules of checkpoints, evaluations and early stopping: against each other, the rows, the steps and the time limit."""

from collections.abc import Iterator

from conf.schema.rules.reading import evaluates_during_training, has_held_out_rows, is_set, spelled, value_at
from conf.schema.rules.registry import Finding, rule
from conf.schema.run import RunConfig

_ROWS = (
    "data.source",
    "data.eval_path",
    "data.eval_sets",
    "data.eval_rows",
    "data.eval_fraction",
    "evaluation.max_rows",
)


@rule(
    "early-stopping-evaluation",
    reads=("method.early_stopping", "evaluation.interval", "evaluation.per_epoch"),
    reason="early stopping counts evaluations during training",
    fix="add evaluation.interval or evaluation.per_epoch",
    fails="the run is evaluated before the first and after the last step alone, and is never stopped: all of its steps "
    "are trained, without a word",
)
def early_stopping_evaluation(config: RunConfig) -> Iterator[Finding]:
    if config.method.early_stopping is not None and not evaluates_during_training(config):
        every = config.checkpoint.interval if isinstance(config.checkpoint.interval, int) else 100
        yield (
            "method.early_stopping",
            f"method.early_stopping={config.method.early_stopping} needs evaluations during training: add "
            f"evaluation.interval={every}",
        )


@rule(
    "early-stopping-rows",
    reads=("method.early_stopping", *_ROWS),
    reason="early stopping looks at the loss of held-out rows",
    fix="hold rows out: data.eval_fraction, data.eval_rows, data.eval_path or data.eval_sets",
    fails="nothing is ever evaluated, and the run is never stopped, without a word",
)
def early_stopping_rows(config: RunConfig) -> Iterator[Finding]:
    if config.method.early_stopping is not None and not has_held_out_rows(config):
        way = "evaluation.max_rows=64" if config.evaluation.max_rows == 0 else "data.eval_fraction=0.05"
        yield (
            "method.early_stopping",
            f"method.early_stopping={config.method.early_stopping} needs held-out rows, and there are none: add {way}",
        )


@rule(
    "early-stopping-steps",
    reads=("method.early_stopping", "evaluation.interval", "method.max_steps"),
    reason="so many evaluations must come before the last step",
    fix="use a smaller evaluation.interval, or more steps",
    fails="the run ends before as many evaluations as early stopping waits for: it is never stopped, without a word",
)
def early_stopping_steps(config: RunConfig) -> Iterator[Finding]:
    patience, every, steps = config.method.early_stopping, config.evaluation.interval, config.method.max_steps
    if patience is None or every is None or steps is None or config.evaluation.per_epoch is not None:
        return
    # The evaluation before the first step is the best so far: `patience` further ones can end the run.
    if patience * every >= steps:
        fits = (steps - 1) // patience
        way = f"use evaluation.interval={fits} or less" if fits else f"use method.early_stopping={steps - 1} or less"
        yield (
            "evaluation.interval",
            f"method.early_stopping={patience} evaluations of evaluation.interval={every} steps are {patience * every} "
            f"steps, and method.max_steps={steps}: {way}",
        )


@rule(
    "evaluation-unused",
    reads=("evaluation.interval", "evaluation.per_epoch", *_ROWS),
    reason="without held-out rows nothing is evaluated",
    fix="hold rows out, or leave the interval out",
    warning=True,
)
def evaluation_unused(config: RunConfig) -> Iterator[Finding]:
    for path in ("evaluation.interval", "evaluation.per_epoch"):
        if is_set(config, path) and not has_held_out_rows(config):
            yield (
                path,
                f"{spelled(path, value_at(config, path))} has no effect, since no rows are held out: add "
                "data.eval_fraction=0.05, or leave it out",
            )


@rule(
    "held-out-unused",
    reads=("data.eval_path", "data.eval_sets", "data.eval_rows", "evaluation.max_rows"),
    reason="evaluation.max_rows=0 switches evaluation off",
    fix="leave evaluation.max_rows=0 out, or the held-out rows",
    warning=True,
)
def held_out_unused(config: RunConfig) -> Iterator[Finding]:
    for path in ("data.eval_path", "data.eval_sets", "data.eval_rows"):
        if config.evaluation.max_rows == 0 and is_set(config, path):
            yield path, f"{path} has no effect with evaluation.max_rows=0: leave one of them out"


@rule(
    "evaluation-interval",
    reads=("evaluation.interval", "method.max_steps"),
    reason="an interval that is longer than the run never comes",
    fix="use a smaller evaluation.interval",
    warning=True,
)
def evaluation_interval(config: RunConfig) -> Iterator[Finding]:
    every, steps = config.evaluation.interval, config.method.max_steps
    if every is not None and steps is not None and every >= steps:
        yield (
            "evaluation.interval",
            f"evaluation.interval={every} does not come within method.max_steps={steps}: the run is evaluated before "
            f"and after training alone; use evaluation.interval={max(1, steps // 4)}, or leave it out",
        )


@rule(
    "checkpoint-interval",
    reads=("checkpoint.interval", "method.max_steps"),
    reason="an interval that is longer than the run never comes",
    fix="use a smaller checkpoint.interval",
    warning=True,
)
def checkpoint_interval(config: RunConfig) -> Iterator[Finding]:
    every, steps = config.checkpoint.interval, config.method.max_steps
    if isinstance(every, int) and steps is not None and is_set(config, "checkpoint.interval") and every >= steps:
        yield (
            "checkpoint.interval",
            f"checkpoint.interval={every} does not come within method.max_steps={steps}: the only checkpoint is "
            f"written at the end; use checkpoint.interval={max(1, steps // 4)}",
        )


@rule(
    "checkpoint-none",
    reads=("checkpoint.interval", "checkpoint.per_epoch", "cluster.kind"),
    reason="a batch job may be killed at any time",
    fix="give checkpoint.interval or checkpoint.per_epoch",
    warning=True,
)
def checkpoint_none(config: RunConfig) -> Iterator[Finding]:
    checkpoint = config.checkpoint
    if config.cluster.kind == "slurm" and checkpoint.interval is None and checkpoint.per_epoch is None:
        yield (
            "checkpoint.interval",
            "checkpoint.interval=null writes no checkpoint before the end: a node that fails, or a job that is "
            "preempted without notice, costs the whole run; use checkpoint.interval=100",
        )


@rule(
    "per-epoch-unused",
    reads=("checkpoint.interval", "checkpoint.per_epoch", "evaluation.interval", "evaluation.per_epoch"),
    reason="per_epoch stands above interval",
    fix="give one of the two",
    warning=True,
)
def per_epoch_unused(config: RunConfig) -> Iterator[Finding]:
    for group in ("checkpoint", "evaluation"):
        each, every = f"{group}.per_epoch", f"{group}.interval"
        if is_set(config, each) and is_set(config, every) and value_at(config, every) is not None:
            yield (
                every,
                f"{spelled(every, value_at(config, every))} has no effect beside "
                f"{spelled(each, value_at(config, each))}: give one of them",
            )


@rule(
    "per-epoch-steps",
    reads=("checkpoint.per_epoch", "method.max_steps", "data.streaming"),
    reason="of a stream a pass is as long as the run",
    fix="use checkpoint.interval with data.streaming=true",
    warning=True,
)
def per_epoch_steps(config: RunConfig) -> Iterator[Finding]:
    if config.data.streaming and config.checkpoint.per_epoch is not None:
        yield (
            "checkpoint.per_epoch",
            f"checkpoint.per_epoch={config.checkpoint.per_epoch:g} counts passes, and with data.streaming=true the run "
            "is one: use checkpoint.interval",
        )
