"""Rules of names: layers that get an adapter, modules that are saved whole, parameters that are trained."""

import re
from collections.abc import Iterator

from conf.schema.adapter import Kind
from conf.schema.model import Architecture
from conf.schema.problems import did_you_mean
from conf.schema.rules.adapter_sharding import LAYOUT, layouts_for_output
from conf.schema.rules.registry import Finding, rule
from conf.schema.run import RunConfig
from conf.schema.sizes import ALL_LINEAR, Matrix, ia3_targets, matrices, targeted

_PREFIX = re.compile(r"^(base_model\.model\.)?(model\.)?(layers\.\d+\.)?")
"""Where a layer's name begins; what follows is its path inside a decoder layer, or inside the model."""


def _named(shape: Architecture, name: str, kinds: tuple[str, ...]) -> list[Matrix]:
    inner = _PREFIX.sub("", name, count=1)
    return [matrix for matrix in matrices(shape) if matrix.kind in kinds and matrix.is_named(inner)]


def _is_known(shape: Architecture, kind: Kind, target: str) -> bool:
    if kind == "ia3" and target in ia3_targets(shape.family):
        # The default of a family names the MLP's last layer, whether or not all its experts are stacked.
        return True
    if target == ALL_LINEAR or _named(shape, target, ("linear", "outer")):
        return True
    try:
        return any(True for _ in targeted(shape, [target]))
    except ValueError:
        return True


def _linear_names(shape: Architecture) -> list[str]:
    return sorted({matrix.leaf for matrix in matrices(shape) if matrix.kind == "linear"})


@rule(
    "target-unknown",
    reads=("adapter.kind", "adapter.targets", "model.architecture", "model.targets"),
    reason="an adapter sits on layers that the model has",
    fix="name layers of this model, or adapter.targets=[all-linear]",
    fails="PEFT passes over a name that matches nothing, without a word; where none matches it raises "
    "NoMatchingPeftModuleError: Target modules not found in the base model",
)
def target_unknown(config: RunConfig) -> Iterator[Finding]:
    shape = config.model.architecture
    if shape is None or not config.adapter.is_peft:
        return
    for target in config.adapter.targets or []:
        if not _is_known(shape, config.adapter.kind, target):
            yield (
                "adapter.targets",
                f"{config.model.name} has no linear layer {target!r}; "
                f"{did_you_mean(target, [*_linear_names(shape), *config.model.targets])}".rstrip("; "),
            )


@rule(
    "target-output",
    reads=("adapter.kind", "adapter.targets", *LAYOUT),
    reason="the loss is computed past an adapter on the output layer",
    fix="leave lm_head out, or train it whole by adapter.modules_to_save=[lm_head]",
    fails="TRL raises ValueError: Applying a PEFT adapter to lm_head is not supported",
)
def target_output(config: RunConfig) -> Iterator[Finding]:
    layouts = layouts_for_output(config)
    for target in config.adapter.targets or []:
        if config.adapter.is_peft and target.rpartition(".")[2] == "lm_head":
            yield (
                "adapter.targets",
                f"an adapter on {target} would never be trained: leave it out, or add "
                f"adapter.modules_to_save=[lm_head]{f' with {layouts}' if layouts else ''}",
            )


@rule(
    "target-embedding",
    reads=("adapter.kind", "adapter.targets", "model.architecture"),
    reason="LoRA alone adapts embeddings",
    fix="leave the embedding out, or train it whole by adapter.modules_to_save",
    fails="PEFT raises ValueError or TypeError: Target module Embedding is not supported",
)
def target_embedding(config: RunConfig) -> Iterator[Finding]:
    shape, adapter = config.model.architecture, config.adapter
    if shape is None or adapter.kind not in ("adalora", "vera", "ia3"):
        return
    for target in adapter.targets or []:
        if any(matrix.path == "embed_tokens" for matrix in _named(shape, target, ("outer",))):
            yield (
                "adapter.targets",
                f"adapter.kind={adapter.kind} cannot adapt the embedding {target}: leave it out, or add "
                f"adapter.modules_to_save=[{target}]",
            )


@rule(
    "parameter-unknown",
    reads=("adapter.kind", "adapter.target_parameters", "model.architecture"),
    reason="an adapter sits on parameters that the model has",
    fix="name parameters of this model, as mlp.experts.gate_up_proj",
    fails="PEFT warns that no parameter was matched, and the run goes on without those adapters",
)
def parameter_unknown(config: RunConfig) -> Iterator[Finding]:
    shape = config.model.architecture
    if shape is None or config.adapter.kind != "lora":
        return
    stacks = [matrix.path for matrix in matrices(shape) if matrix.kind == "experts"]
    for name in config.adapter.target_parameters:
        weight = name.removesuffix(".weight")
        found = _named(shape, name, ("experts",)) or (
            weight != name and _named(shape, weight, ("linear", "router", "outer"))
        )
        if not found:
            hint = did_you_mean(name, [*stacks, *(f"{leaf}.weight" for leaf in _linear_names(shape))])
            yield "adapter.target_parameters", f"{config.model.name} has no parameter {name!r}; {hint}".rstrip("; ")
