"""Rules of adapters on stacked experts: those of a layer are one weight, which is no linear layer."""

from collections.abc import Iterable, Iterator

from conf.schema.model import Architecture
from conf.schema.rules.registry import Finding, rule
from conf.schema.run import RunConfig
from conf.schema.sizes import ALL_LINEAR, matrices, targeted


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
    fails="the trainer stops before the first step: adapter.layers cannot be kept to, since PEFT adapts the experts of "
    "all layers",
)
def target_experts_layers(config: RunConfig) -> Iterator[Finding]:
    shape, adapter = config.model.architecture, config.adapter
    if shape is None or adapter.kind != "lora" or adapter.layers is None:
        return
    if _reaches(shape, adapter.targets or [], ("experts", "router")):
        yield (
            "adapter.layers",
            f"adapter.layers={adapter.layers} does not hold for {_stack(config)} and their routers, which PEFT adapts "
            f"in every layer: take them out ({_attention_targets(config)}), and name them in "
            "adapter.target_parameters=[mlp.experts.gate_up_proj,mlp.experts.down_proj] if they shall learn, too",
        )


@rule(
    "target-experts-alone",
    reads=("adapter.kind", "adapter.targets", "model.architecture"),
    reason="LoRA alone adapts stacked experts",
    fix="use adapter=lora, or name layers of attention",
    fails="PEFT raises NoMatchingPeftModuleError: Target modules not found in the base model; of VeRA ValueError: No "
    "layers types compatible with VeRA were found",
)
def target_experts_alone(config: RunConfig) -> Iterator[Finding]:
    if _names_experts_alone(config):
        yield (
            "adapter.targets",
            f"adapter.kind={config.adapter.kind} cannot adapt {_stack(config)}, and adapter.targets="
            f"{config.adapter.targets} names nothing else: use adapter=lora, or {_attention_targets(config)}",
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
    if shape is None or shape.num_experts is None or not adapter.is_peft or _names_experts_alone(config):
        return
    targets = adapter.targets or []
    if adapter.kind == "lora" and (adapter.target_parameters or reaches_experts(shape, targets)):
        return
    none = f"the {shape.num_experts} experts of {config.model.name} get no adapter"
    named = [target for target in targets if target != ALL_LINEAR and reaches_experts(shape, [target])]
    if adapter.kind != "lora" and named:
        yield (
            "adapter.targets",
            f"{none} of adapter.kind={adapter.kind}, though {', '.join(named)} in adapter.targets name them: use "
            "adapter=lora if they shall",
        )
        return
    if adapter.kind != "lora":
        how = "adapter=lora can adapt them"
    elif reaches_experts(shape, [ALL_LINEAR]):
        how = f"add {ALL_LINEAR} to adapter.targets"
    else:
        how = "add adapter.target_parameters=[mlp.experts.gate_up_proj,mlp.experts.down_proj]"
    yield "adapter.targets", f"{none}, which may be meant; if not: {how}"


def _names_experts_alone(config: RunConfig) -> bool:
    """Whether targets of an adapter that cannot follow them there lead to stacked experts, and nowhere else."""
    shape, adapter = config.model.architecture, config.adapter
    if shape is None or adapter.kind not in ("adalora", "vera", "ia3") or not adapter.targets:
        return False
    own = any(matrix.kind in ("linear", "outer") and matrix.is_named(target)
              for matrix in matrices(shape) for target in adapter.targets)  # fmt: skip
    return not own and ALL_LINEAR not in adapter.targets and reaches_experts(shape, adapter.targets)


def reaches_experts(shape: Architecture, targets: Iterable[str]) -> bool:
    """Whether targets name stacked experts, or half of a stack, as PEFT's LoRA reads them."""
    return _reaches(shape, targets, ("experts",))


def _reaches(shape: Architecture, targets: Iterable[str], kinds: tuple[str, ...]) -> bool:
    try:
        return any(matrix.kind in kinds for matrix, _ in targeted(shape, targets))
    except ValueError:
        return True


def _adapts_parameters(config: RunConfig) -> bool:
    shape, adapter = config.model.architecture, config.adapter
    if adapter.kind != "lora":
        return False
    return bool(adapter.target_parameters) or (shape is not None and reaches_experts(shape, adapter.targets or []))


def _stack(config: RunConfig) -> str:
    return f"the stacked experts of {config.model.name}"


def _experts(config: RunConfig) -> str:
    return "bare parameters (adapter.target_parameters)" if config.adapter.target_parameters else _stack(config)


def _attention_targets(config: RunConfig) -> str:
    """The option that names the layers of attention alone, for a model whose shape is known."""
    shape = config.model.architecture
    assert shape is not None
    names = sorted({matrix.leaf for matrix in matrices(shape) if matrix.path.startswith("self_attn.")})
    return f"adapter.targets=[{','.join(names)}]"


def _without(config: RunConfig) -> str:
    """An alternative to adapted experts, to end a sentence with; nothing to say of parameters named outright."""
    return "" if config.adapter.target_parameters else f", or {_attention_targets(config)}"
