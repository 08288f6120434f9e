"""Rules of the learning rate's course, and of what decides how long a run is."""

from collections.abc import Iterator

from conf.schema.optimizers import FACTS
from conf.schema.rules.reading import is_set, spelled, value_at
from conf.schema.rules.registry import Finding, rule
from conf.schema.run import RunConfig


@rule(
    "epochs-or-steps",
    reads=("method.epochs", "method.max_steps"),
    reason="one of the two decides",
    fix="give method.epochs or method.max_steps",
    warning=True,
)
def epochs_or_steps(config: RunConfig) -> Iterator[Finding]:
    method = config.method
    if method.epochs is not None and method.max_steps is not None:
        yield (
            "method.epochs",
            f"method.epochs={method.epochs} has no effect beside method.max_steps={method.max_steps}: give one of them",
        )


@rule(
    "warmup-steps",
    reads=("method.warmup", "method.max_steps"),
    reason="with a warm-up as long as the run the learning rate never reaches its peak",
    fix="use fewer steps of warm-up, or a share of all steps below 1",
    warning=True,
)
def warmup_steps(config: RunConfig) -> Iterator[Finding]:
    warmup, steps = config.method.warmup, config.method.max_steps
    if warmup is not None and steps is not None and warmup >= 1 and warmup >= steps:
        fits = f"method.warmup={steps // 10}" if steps >= 10 else "method.warmup=0"
        yield (
            "method.warmup",
            f"method.warmup={warmup:g} steps of method.max_steps={steps}: use {fits}, or a share as 0.03",
        )


_CONSTANT = ("constant",)
_OPTIONS: dict[str, tuple[str, ...]] = {
    "method.min_lr_ratio": ("cosine_with_min_lr", "wsd", "rex"),
    "method.constant_ratio": ("cosine_with_min_lr",),
    "method.cycles": ("cosine_with_restarts",),
    "method.decay": ("wsd",),
}
"""Options of the schedule, and the schedules that have them."""


@rule(
    "schedule-unused",
    reads=("method.schedule", "method.warmup", "method.warmup_shape", *_OPTIONS),
    reason="each schedule has options of its own",
    fix="leave the option out, or choose the schedule that it belongs to",
    warning=True,
)
def schedule_unused(config: RunConfig) -> Iterator[Finding]:
    method = config.method
    for path, schedules in _OPTIONS.items():
        if is_set(config, path) and method.schedule not in schedules:
            yield (
                path,
                f"{spelled(path, value_at(config, path))} has no effect with method.schedule={method.schedule}: use "
                f"method.schedule={schedules[0]}, or leave it out",
            )
    if method.schedule in _CONSTANT:
        if method.warmup:
            yield (
                "method.warmup",
                f"method.warmup={method.warmup:g} has no effect with method.schedule=constant: use "
                "method.schedule=constant_with_warmup",
            )
        if is_set(config, "method.warmup_shape"):
            yield (
                "method.warmup_shape",
                f"method.warmup_shape={method.warmup_shape} has no effect with method.schedule=constant: use "
                "method.schedule=constant_with_warmup",
            )


@rule(
    "schedule-optimizer",
    reads=("method.schedule", "method.optimizer"),
    reason="schedule_free takes the place of a schedule",
    fix="leave method.schedule out with method.optimizer=schedule_free",
    warning=True,
)
def schedule_optimizer(config: RunConfig) -> Iterator[Finding]:
    method = config.method
    if not FACTS[method.optimizer].scheduled and is_set(config, "method.schedule") and method.schedule not in _CONSTANT:
        yield (
            "method.schedule",
            f"method.schedule={method.schedule} has no effect with method.optimizer={method.optimizer}: leave it out",
        )


@rule(
    "schedule-parts",
    reads=("method.schedule", "method.warmup", "method.decay"),
    reason="warm-up and decay are shares of the same steps",
    fix="use shares that add up to less than 1",
    fails="the decay would begin before the learning rate has risen: the peak that was typed is never reached",
)
def schedule_parts(config: RunConfig) -> Iterator[Finding]:
    method = config.method
    if (
        method.schedule == "wsd"
        and method.warmup is not None
        and method.warmup < 1
        and method.warmup + method.decay > 1
    ):
        yield (
            "method.decay",
            f"method.warmup={method.warmup:g} and method.decay={method.decay:g} are more than all steps: use "
            f"method.decay={1 - method.warmup:g} or less",
        )
