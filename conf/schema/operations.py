"""Small operational groups: checkpoints, evaluation, tracking, and where runs and assets lie."""

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from conf.schema.base import Group


class CheckpointConfig(Group):
    """When the state of a run is written."""

    interval: PositiveInt | Literal["auto"] | None = 100
    """Steps between checkpoints; None writes one at the end alone. auto: as often as loses the least time, from what a
    save costs here, the time of a step and checkpoint.mtbf_hours (Young 1974, Daly 2006): between one step and one
    hour. The first one comes after 10 minutes at most."""
    mtbf_hours: PositiveFloat | None = None
    """For checkpoint.interval=auto: hours of one node between two interruptions that give no time to save, failures and
    preemptions without grace. None takes it from the run's own attempts and from your jobs at the site as
    `launcher doctor` has read them, at most 3700: 6.5 failures in 1000 node-days (Kokolis et al. 2024,
    arXiv:2410.21680)."""
    per_epoch: PositiveFloat | None = None
    """Checkpoints in one pass over the rows, in place of checkpoint.interval."""
    asynchronous: bool | None = None
    """Copy the state into host memory and write it while training goes on, one checkpoint at a time. None does so where
    checkpoints are large: full tunes (adapter=full, freeze) under parallel=ddp and fsdp2. Adapters and DeepSpeed's
    layouts (zero1 to zero3) save in one go. A node that dies while one is written costs one interval and the steps made
    meanwhile."""
    keep: PositiveInt = 2
    """Newest checkpoints that are kept. One that is damaged does not count."""
    keep_every: PositiveInt | None = None
    """Checkpoints whose step is a multiple of it stay for good; None is none."""
    keep_best: bool = False
    """Keep the checkpoint with the lowest held-out loss, too, and name it in result.json. Only steps that are both
    evaluated and saved are compared; adapter/ and model/ hold the last weights all the same."""


class EvaluationConfig(Group):
    """When held-out rows are evaluated: before the first and after the last step always, where there are any."""

    interval: PositiveInt | None = None
    """Steps between evaluations; None evaluates before and after training alone."""
    per_epoch: PositiveFloat | None = None
    """Evaluations in one pass over the rows, in place of evaluation.interval."""
    max_rows: NonNegativeInt | None = 64
    """Held-out rows used, from the front; None is all of them, 0 switches evaluation off."""


class LimitsConfig(Group):
    """How often a run goes on by itself, and how much time it needs to leave. What is used up is counted over all
    attempts of a run."""

    notice: PositiveInt = 120
    """Seconds before the time limit at which the run is told to save and to go on in another attempt. Slurm may tell
    it up to 60 s earlier."""
    preemptions: NonNegativeInt = 1000
    """Preemptions after which the run goes on."""
    time_limits: NonNegativeInt = 100
    """Ends by the time limit after which the run goes on."""
    node_failures: NonNegativeInt = 10
    """Losses of a node or of its network after which the run goes on."""
    stall: PositiveInt | None = 1800
    """Seconds without a step, an evaluated batch or a written checkpoint after which training counts as hung: the
    stacks of all workers are written into the node's logs, and the attempt ends. None: never."""
    crashes: NonNegativeInt = 2
    """Crashes after which the run goes on; never twice in a row at the same step."""


class TrackingConfig(Group):
    """Where curves go."""

    name: Literal["tensorboard", "wandb", "mlflow", "none"] = "tensorboard"
    """tensorboard: event files in the run folder. wandb and mlflow: these services (packages of their names); metrics
    lie in the run folder all the same."""
    project: str | None = None
    """wandb: project. mlflow: experiment. None is slurmwright."""
    entity: str | None = None
    """wandb: team or user; None is the account's default."""
    label: str | None = None
    """Name of the run at the service; None is the run's id."""
    mode: Literal["online", "offline"] = "offline"
    """wandb. offline: files in the run folder, sent later by `wandb sync`. online: sent during the run."""
    url: str | None = None
    """mlflow: address of the tracking server; None is MLFLOW_TRACKING_URI, else files in the run folder."""
    interval: PositiveInt = 1
    """Steps between two records of loss, learning rate and gradient norm."""


class RunPlace(Group):
    """Where run folders lie."""

    root: str = Field("runs", min_length=1)
    """Folder of run folders; a relative one is taken from the present folder."""


class StorePlace(Group):
    """Where prepared weights and data lie."""

    root: str | None = None
    """Store; None is SLURMWRIGHT_STORE, else slurmwright in the user's cache folder. On Slurm it must be on a shared
    file system."""
