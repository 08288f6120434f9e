"""Group `sweep`: many runs from one command, as a grid or as a search; and `budget` beside it."""

from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from conf.schema.base import RUN_NAME, Group

Metric = Literal["eval_loss", "train_loss", "tokens_per_second"]


class ScaledField(Group):
    """A field that follows another one through a sweep: value x (by / at) ** power."""

    field: str = Field(min_length=1)
    """The field that follows, as adapter.alpha. Typed or listed among the axes it is left as given there."""
    by: str = Field(min_length=1)
    """The field that it follows, as adapter.r."""
    at: PositiveFloat
    """Value of that field at which `field` has its own value."""
    value: PositiveFloat | None = None
    """Value of `field` there; None is what the command gives it."""
    power: float = 1.0
    """1 keeps both in proportion, -0.5 divides by the square root."""


class SweepConfig(Group):
    """Many runs from one command. A run by itself takes no notice of it."""

    search: Literal["grid", "random", "tpe", "asha", "grid_then_tpe"] = "grid"
    """grid: every combination of the values given. random: drawn independently. tpe: proposed from the results so far
    (tree-structured Parzen estimator, Bergstra et al. 2011). asha: the same, stopped early and promoted by steps (Li et
    al. 2018, arXiv:1810.05934). grid_then_tpe: the combinations of the lists first, then tpe."""
    name: str | None = Field(None, pattern=RUN_NAME)
    """Name of the sweep's folder, beside those of its runs; None is
    `<model>-<adapter>-<data>-<method>-sweep-<hash>`."""
    parallel: PositiveInt | None = None
    """Trials that run at once, over the whole sweep; a search starts so many workers. None: as many as the site
    starts, and 1 worker of a search."""
    axes: dict[str, list[Any] | str] = Field(default_factory=dict)
    """What varies: field or option group -> a list of values, or text as it is typed, as `8,16,32`, `range(1,5)` or
    `tag(log,interval(1e-5,1e-3))`. What is typed on the line takes the place of the same key here."""
    zip: list[dict[str, list[Any]]] = Field(default_factory=list)
    """Values that vary together: each item holds lists of one length, whose first values go together, then the second
    ones. The items are combined with each other and with the axes."""
    exclude: list[dict[str, Any]] = Field(default_factory=list)
    """Combinations that are left out: each item holds fields or groups, with the value or the list of values that meet
    there."""
    scale: list[ScaledField] = Field(default_factory=list)
    """Fields that follow others, as adapter.alpha in proportion to adapter.r."""
    seeds: list[NonNegativeInt] = Field(default_factory=list)
    """Repeats: each combination is trained once with each of these seeds. Empty: once with `seed`."""
    metric: Metric = "eval_loss"
    """What ranks the trials."""
    objectives: list[Metric] = Field(default_factory=list)
    """Several measures at once, for what no other trial beats in all of them; losses are small, tokens per second many.
    Empty: sweep.metric alone."""
    trials: PositiveInt | None = None
    """Trials of a search in all; None: 20 or until budget.gpu_hours is used up. No effect on a grid."""
    startup: NonNegativeInt = 10
    """Trials that a search draws at random before it learns from results."""
    points: list[dict[str, Any]] = Field(default_factory=list)
    """Points known to be good, which a search tries first: field or group -> value."""
    sampler_seed: NonNegativeInt = 42
    """Seed of what a search draws; `seed` is that of the training."""
    min_steps: PositiveInt | None = None
    """asha: optimizer steps at the first rung; None is all steps divided by eta twice."""
    prune: Literal["none", "median"] = "none"
    """random, tpe, grid_then_tpe: median ends a trial whose held-out loss is worse than the median of the others at the
    same step, after five trials (Optuna's MedianPruner); evaluation.interval says how often it is taken."""
    eta: PositiveInt = Field(3, ge=2)
    """asha: one of so many trials at a rung goes on to the next, which is so many times as long."""


class BudgetConfig(Group):
    """What a sweep may use in all."""

    gpu_hours: PositiveFloat | None = None
    """Devices x hours that a search may hold; no further trial is begun behind it. None: no limit."""
