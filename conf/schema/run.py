"""RunConfig: everything that one run says."""

from typing import Any

from pydantic import Field, NonNegativeInt

from conf.schema.adapter import AdapterConfig
from conf.schema.base import RUN_NAME, Group, operational
from conf.schema.cluster import ClusterConfig, GpuConfig, ParallelConfig
from conf.schema.data import DataConfig
from conf.schema.method import BatchConfig, MethodConfig, PrecisionConfig
from conf.schema.model import ModelConfig
from conf.schema.operations import (
    CheckpointConfig,
    EvaluationConfig,
    LimitsConfig,
    RunPlace,
    StorePlace,
    TrackingConfig,
)
from conf.schema.site import SiteConfig
from conf.schema.sweep import BudgetConfig, SweepConfig


def _operational_group(group: type[Group]) -> Any:
    return operational(default_factory=group)


class RunConfig(Group):
    """One run, resolved. The frozen config.yaml of a run folder is this model's dump."""

    name: str | None = operational(None, pattern=RUN_NAME)
    """Name of the run folder: up to 120 letters, digits, dots, dashes and underscores, neither dot nor dash
    first; None is `<model>-<adapter>-<data>-<method>-<hash>`."""
    seed: NonNegativeInt = 42
    """Seed of every random number: adapter weights, dropout, order of rows."""
    offline: bool = operational(False)
    """No network: the hub and package indexes are never asked."""
    after: str | None = operational(None, pattern=RUN_NAME)
    """Run id, the name of a folder under run.root, of a run that must complete before this one starts."""
    model: ModelConfig = Field(default_factory=ModelConfig)
    """The language model."""
    adapter: AdapterConfig = Field(default_factory=AdapterConfig)
    """What is trained."""
    data: DataConfig = Field(default_factory=DataConfig)
    """What it is trained on."""
    method: MethodConfig = Field(default_factory=MethodConfig)
    """How it is trained."""
    batch: BatchConfig = Field(default_factory=BatchConfig)
    """Sequences per step."""
    precision: PrecisionConfig = Field(default_factory=PrecisionConfig)
    """Number formats."""
    gpu: GpuConfig = _operational_group(GpuConfig)
    """The device."""
    cluster: ClusterConfig = _operational_group(ClusterConfig)
    """The machines."""
    parallel: ParallelConfig = _operational_group(ParallelConfig)
    """The layout over workers."""
    site: SiteConfig = _operational_group(SiteConfig)
    """The computing centre."""
    tracking: TrackingConfig = _operational_group(TrackingConfig)
    """Where curves go."""
    checkpoint: CheckpointConfig = _operational_group(CheckpointConfig)
    """When state is written."""
    evaluation: EvaluationConfig = _operational_group(EvaluationConfig)
    """When held-out rows are evaluated."""
    limits: LimitsConfig = _operational_group(LimitsConfig)
    """How often a run goes on by itself."""
    run: RunPlace = _operational_group(RunPlace)
    """Where run folders lie."""
    store: StorePlace = _operational_group(StorePlace)
    """Where prepared weights and data lie."""
    sweep: SweepConfig = _operational_group(SweepConfig)
    """Many runs from one command."""
    budget: BudgetConfig = _operational_group(BudgetConfig)
    """What a sweep may use."""

    @property
    def world_size(self) -> int:
        """Number of workers: nodes x devices of a node."""
        return self.cluster.nodes * self.cluster.devices_per_node

    def dump(self) -> dict[str, Any]:
        """The plain tree of values, under the names that people type."""
        return self.model_dump(mode="json", by_alias=True)
