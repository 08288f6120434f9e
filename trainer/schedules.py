"""The learning rate over the steps: transformers' schedules where they are what was asked for, else our own.

A schedule is a multiplier of the peak learning rate of each parameter group: groups with rates of their own keep their
ratio. It depends on the step alone; what a checkpoint keeps of it is the number of the step.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR

from conf.schema.method import MethodConfig

THEIRS = {
    "cosine": "cosine",
    "linear": "linear",
    "constant": "constant",
    "constant_with_warmup": "constant_with_warmup",
    "cosine_with_restarts": "cosine_with_restarts",
    "inverse_sqrt": "inverse_sqrt",
}
"""Schedules that transformers has as they are meant here, and its names for them. Of the others, its cosine_with_min_lr
knows no constant end, its warmup_stable_decay warms up from min_lr_ratio, and its polynomial divides by zero where all
steps are warm-up."""
POLYNOMIAL_END = 1e-7
"""polynomial: learning rate at the end, as in transformers."""
ONE_CYCLE_START, ONE_CYCLE_END = 1 / 25, 1 / 25e4
"""one_cycle: first and last learning rate as a share of the peak, the defaults of torch's OneCycleLR."""
ONE_CYCLE_MOMENTUM = (0.95, 0.85)
"""one_cycle: beta1 while the learning rate is low, and at its peak, the defaults of torch's OneCycleLR."""


def warmup_steps(method: MethodConfig, steps: int) -> int:
    """Steps of warm-up in a run of `steps`. Below 1 method.warmup is a share of them, rounded up."""
    if method.schedule == "constant":
        return 0
    asked = method.warmup or 0.0
    # 0.07 * 100 is a little above 7.
    return min(steps, round(asked) if asked >= 1 else math.ceil(asked * steps - 1e-9))


def multiplier(method: MethodConfig, step: int, steps: int) -> float:
    """Share of the peak learning rate, 0 to 1, at `step` (0: the first) of `steps`, of the schedules that are ours.

    cosine_with_min_lr: half a cosine from 1 to min_lr_ratio, reached at 1 - constant_ratio of the steps and held
    (Gupta et al. 2023, arXiv:2308.04014, section 3). wsd: 1, then half a cosine to min_lr_ratio over the last share
    `decay` of the steps (Hu et al. 2024, arXiv:2404.06395, eq. 1; the cosine is transformers' choice). rex: z / (0.1 +
    0.9 z) over what is left, z, of the steps (Chen et al. 2021, arXiv:2107.04197, eq. 3 with 1/2 and 1/2; 0.1 and 0.9
    are what the schedule's users run). one_cycle: half cosines from 1/25 to 1 during warm-up, then to 4e-6 (Smith and
    Topin 2017, arXiv:1708.07120, as torch's OneCycleLR has it).

    polynomial: a straight line to 1e-7 (its power is 1).

    Raises ValueError for a schedule that transformers has."""
    warm = warmup_steps(method, steps)
    if method.schedule == "one_cycle":
        return _between(ONE_CYCLE_START, 1.0, ONE_CYCLE_END, _one_cycle_turn(step, warm, steps))
    if step < warm:
        return step / warm
    if method.schedule == "polynomial":
        end_ratio = min(1.0, POLYNOMIAL_END / (method.learning_rate or 1.0))
        return end_ratio + (1 - end_ratio) * (1 - _part(step, warm, steps))
    low = method.min_lr_ratio
    if method.schedule == "cosine_with_min_lr":
        end = int((1 - method.constant_ratio) * steps + 1e-6)
        return low + (1 - low) * _cosine(_part(step, warm, end))
    if method.schedule == "wsd":
        begin = max(warm, steps - max(1, round(method.decay * steps)))
        return low + (1 - low) * _cosine(_part(step, begin, steps))
    if method.schedule == "rex":
        left = 1 - _part(step, warm, steps)
        return low + (1 - low) * left / (0.1 + 0.9 * left)
    raise ValueError(f"method.schedule={method.schedule} is transformers' own")


def build(method: MethodConfig, optimizer: Any, steps: int, scheduled: bool = True) -> Any:
    """The scheduler (a torch LRScheduler) of an optimiser for a run of `steps`.

    `scheduled` is off where the optimiser warms up by itself and wants no schedule (schedule_free)."""
    if not scheduled:
        return _transformers("constant", optimizer)
    warm = warmup_steps(method, steps)
    if method.schedule == "one_cycle":
        return _OneCycle(optimizer, method, warm, steps)
    quadratic = method.warmup_shape == "quadratic" and warm > 0
    if method.schedule in THEIRS and not quadratic:
        return _theirs(method, optimizer, warm, steps)
    linear = _their_course(method, warm, steps) if method.schedule in THEIRS else partial(_our_course, method, steps)
    return LambdaLR(optimizer, lambda step: linear(step) ** 2 if quadratic and step < warm else linear(step))


def _our_course(method: MethodConfig, steps: int, step: int) -> float:
    return multiplier(method, step, steps)


def _their_course(method: MethodConfig, warm: int, steps: int) -> Callable[[int], float]:
    """The multiplier inside one of transformers' schedules, which are made for an optimiser alone."""
    still = torch.optim.SGD([torch.zeros(1)], lr=method.learning_rate or 1.0)
    course: Callable[[int], float] = _theirs(method, still, warm, steps).lr_lambdas[0]
    return course


def _theirs(method: MethodConfig, optimizer: Any, warm: int, steps: int) -> Any:
    more = {"num_cycles": method.cycles} if method.schedule == "cosine_with_restarts" else None
    return _transformers(THEIRS[method.schedule], optimizer, warm, steps, more)


def _transformers(*arguments: Any) -> Any:
    # Imported late: trainer/stack.py asks the optimisers, which import this module, what transformers shall not import.
    from transformers import get_scheduler

    return get_scheduler(*arguments)


class _OneCycle(LambdaLR):
    """one_cycle moves beta1 against the learning rate, too, unless the user has set it."""

    def __init__(self, optimizer: Any, method: MethodConfig, warm: int, steps: int) -> None:
        self.warm = warm
        self.steps = steps
        self.moves_beta1 = method.beta1 is None
        super().__init__(optimizer, partial(_our_course, method, steps))

    def get_lr(self) -> list[Any]:
        """Learning rates of the groups at the present step; sets their beta1 too."""
        if self.moves_beta1:
            high, low = ONE_CYCLE_MOMENTUM
            beta1 = _between(high, low, high, _one_cycle_turn(self.last_epoch, self.warm, self.steps))
            for group in self.optimizer.param_groups:
                if "betas" in group:
                    group["betas"] = (beta1, *group["betas"][1:])
                elif group.get("beta1") is not None:
                    group["beta1"] = beta1
        return super().get_lr()


def _one_cycle_turn(step: int, warm: int, steps: int) -> float:
    """Place in the cycle: 0 at its start, 1 at the peak (the last step of warm-up), 2 at the last step."""
    peak = warm - 1
    if step <= peak:
        return step / peak if peak > 0 else 1.0
    return 1 + _part(step, peak, steps - 1)


def _between(start: float, peak: float, end: float, turn: float) -> float:
    if turn <= 1:
        return peak + (start - peak) * _cosine(turn)
    return end + (peak - end) * _cosine(turn - 1)


def _cosine(part: float) -> float:
    """Half a cosine from 1 at 0 to 0 at 1."""
    return 0.5 * (1 + math.cos(math.pi * part))


def _part(step: int, begin: int, end: int) -> float:
    """How much of begin..end lies behind `step`, 0 to 1."""
    return 1.0 if step >= end else max(0, step - begin) / (end - begin)
