"""Rules of names: layers that get an adapter, modules that are saved whole, parameters that are trained."""

import re
from collections.abc import Iterable, Iterator

from conf.schema.model import Architecture
from conf.schema.problems import did_you_mean
from conf.schema.rules.registry import Finding, rule
from conf.schema.run import RunConfig
from conf.schema.sizes import ALL_LINEAR, Matrix, matrices, targeted

_PREFIX = re.compile(r"^(base_model\.model\.)?(model\.)?(layers\.\d+\.)?")
"""Where a layer's name begins; what follows is its path inside a decoder layer, or inside the model."""


def _named(shape: Architecture, name: str, kinds: tuple[str, ...]) -> list[Matrix]:
    inner = _PREFIX.sub("", name, count=1)
    return [matrix for matrix in matrices(shape) if matrix.kind in kinds and matrix.is_named(inner)]


def reaches_experts(shape: Architecture, targets: Iterable[str]) -> bool:
    """Whether targets name stacked experts, or half of a stack, as PEFT's LoRA reads them."""
    try:
        return any(matrix.kind == "experts" for matrix, _ in targeted(shape, targets))
    except ValueError:
        return True


def _is_known(shape: Architecture, target: str) -> bool:
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
        if not _is_known(shape, target):
            yield (
                "adapter.targets",
                f"{config.model.name} has no linear layer {target!r}; "
                f"{did_you_mean(target, [*_linear_names(shape), *config.model.targets])}".rstrip("; "),
            )


@rule(
    "target-half-experts",
    reads=("adapter.kind", "adapter.targets", "model.architecture"),
    reason="gate and up of experts are one stacked weight",
    fix="target both, or neither",
    fails="PEFT raises ValueError: Cannot convert PEFT target(s) without also targeting the other, because they are "
    "fused into gate_up_proj",
)
def target_half_experts(config: RunConfig) -> Iterator[Finding]:
    shape = config.model.architecture
    if shape is None or config.adapter.kind != "lora":
        return
    try:
        list(targeted(shape, config.adapter.targets or []))
    except ValueError as error:
        yield "adapter.targets", f"adapter.targets={config.adapter.targets}: {error}"


@rule(
    "target-experts-dora",
    reads=("adapter.kind", "adapter.targets", "adapter.dora", "model.architecture"),
    reason="PEFT adapts stacked experts without DoRA",
    fix="leave the experts out of adapter.targets, or use plain LoRA",
    fails="PEFT raises ValueError: lora.ParamWrapper does not work with use_dora=True",
)
def target_experts_dora(config: RunConfig) -> Iterator[Finding]:
    if config.adapter.dora and _adapts_parameters(config):
        yield (
            "adapter.dora",
            f"adapter.dora=true cannot adapt {_experts(config)}: use adapter.dora=false{_without(config)}",
        )


@rule(
    "target-experts-dropout",
    reads=("adapter.kind", "adapter.targets", "adapter.target_parameters", "adapter.dropout", "model.architecture"),
    reason="PEFT adapts stacked experts without dropout",
    fix="leave the experts out of adapter.targets, or use adapter.dropout=0",
    fails="PEFT raises ValueError: lora.ParamWrapper does not work with lora_dropout != 0",
)
def target_experts_dropout(config: RunConfig) -> Iterator[Finding]:
    dropout = config.adapter.dropout
    if dropout > 0 and _adapts_parameters(config):
        yield (
            "adapter.dropout",
            f"adapter.dropout={dropout} cannot be applied to {_experts(config)}: use "
            f"adapter.dropout=0{_without(config)}",
        )


@rule(
    "target-experts-init",
    reads=("adapter.kind", "adapter.targets", "adapter.target_parameters", "adapter.init", "model.architecture"),
    reason="these first values are computed from a layer's weight, and stacked experts are no layers",
    fix="leave the experts out of adapter.targets, or use adapter.init=default or gaussian",
    fails="PEFT raises AttributeError: the experts' module has no attribute 'weight'",
)
def target_experts_init(config: RunConfig) -> Iterator[Finding]:
    if config.adapter.init not in ("default", "gaussian") and _adapts_parameters(config):
        yield (
            "adapter.init",
            f"adapter.init={config.adapter.init} has no meaning for {_experts(config)}: use adapter.init=default"
            f"{_without(config)}",
        )


@rule(
    "target-experts-layers",
    reads=("adapter.kind", "adapter.targets", "adapter.layers", "model.architecture"),
    reason="PEFT adapts stacked experts in every layer that has some",
    fix="name the experts in adapter.target_parameters, which heeds adapter.layers, or leave them out",
    fails="the trainer stops before the first step: adapter.layers cannot be kept to",
)
def target_experts_layers(config: RunConfig) -> Iterator[Finding]:
    shape, adapter = config.model.architecture, config.adapter
    if shape is None or adapter.kind != "lora" or adapter.layers is None:
        return
    if reaches_experts(shape, adapter.targets or []):
        yield (
            "adapter.layers",
            f"adapter.layers={adapter.layers} does not hold for {_experts(config)}, which PEFT adapts in every layer: "
            "name them in "
            f"adapter.target_parameters=[mlp.experts.gate_up_proj,mlp.experts.down_proj]{_without(config)}",
        )


def _adapts_parameters(config: RunConfig) -> bool:
    shape, adapter = config.model.architecture, config.adapter
    if adapter.kind != "lora":
        return False
    return bool(adapter.target_parameters) or (shape is not None and reaches_experts(shape, adapter.targets or []))


def _experts(config: RunConfig) -> str:
    return "bare parameters (adapter.target_parameters)" if config.adapter.target_parameters else (
        f"the stacked experts of {config.model.name}"
    )  # fmt: skip


def _without(config: RunConfig) -> str:
    """An alternative: the layers of attention alone."""
    shape = config.model.architecture
    if shape is None or config.adapter.target_parameters:
        return ""
    names = sorted({matrix.leaf for matrix in matrices(shape) if matrix.path.startswith("self_attn.")})
    return f", or adapter.targets=[{','.join(names)}]"


@rule(
    "target-output",
    reads=("adapter.kind", "adapter.targets"),
    reason="the loss is computed past an adapter on the output layer",
    fix="leave lm_head out, or train it whole by adapter.modules_to_save=[lm_head]",
    fails="TRL raises ValueError: Applying a PEFT adapter to lm_head is not supported",
)
def target_output(config: RunConfig) -> Iterator[Finding]:
    for target in config.adapter.targets or []:
        if config.adapter.is_peft and target.rpartition(".")[2] == "lm_head":
            yield (
                "adapter.targets",
                f"an adapter on {target} would never be trained: leave it out, or add "
                "adapter.modules_to_save=[lm_head]",
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
    "target-experts-missed",
    reads=("adapter.kind", "adapter.targets", "adapter.target_parameters", "model.architecture"),
    reason="most weights of a sparse model are in its experts",
    fix="name the experts in adapter.targets, or in adapter.target_parameters where PEFT does not know their names",
    warning=True,
)
def target_experts_missed(config: RunConfig) -> Iterator[Finding]:
    shape, adapter = config.model.architecture, config.adapter
    if shape is None or shape.num_experts is None or not adapter.is_peft:
        return
    if adapter.kind == "lora":
        if adapter.target_parameters or reaches_experts(shape, adapter.targets or []):
            return
        every = [ALL_LINEAR] if reaches_experts(shape, [ALL_LINEAR]) else []
        how = f"add {','.join(every)} to adapter.targets" if every else (
            "add adapter.target_parameters=[mlp.experts.gate_up_proj,mlp.experts.down_proj]"
        )  # fmt: skip
    else:
        how = "adapter=lora can adapt them"
    yield (
        "adapter.targets",
        f"the {shape.num_experts} experts of {config.model.name} get no adapter, which may be meant; if not: {how}",
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
