"""Rules of adapters: options that exclude each other, or that the model or the layout cannot follow."""

from collections.abc import Iterator

from conf.schema.rules.reading import is_set, spelled, value_at
from conf.schema.rules.registry import Finding, rule
from conf.schema.run import RunConfig
from conf.schema.sizes import targeted
from conf.schema.trainable import initial_rank

_LORA_ALONE = ("adapter.dora", "adapter.rslora", "adapter.init", "adapter.target_parameters", "adapter.loraplus_ratio")


@rule(
    "lora-alone",
    reads=("adapter.kind", *_LORA_ALONE),
    reason="DoRA, rsLoRA, first values, LoRA+ and bare parameters are variants of LoRA",
    fix="use adapter.kind=lora, or leave the option out",
    fails="PEFT's other adapters have no such argument, so that something else than what was typed would be trained; "
    "LoRA+ would give its rate to norms and biases",
)
def lora_alone(config: RunConfig) -> Iterator[Finding]:
    if config.adapter.kind == "lora":
        return
    for path in _LORA_ALONE:
        if is_set(config, path):
            yield (
                path,
                f"{spelled(path, value_at(config, path))} is an option of LoRA, not of "
                f"adapter.kind={config.adapter.kind}: use adapter.kind=lora, or leave it out",
            )


_NOTHING = ("full", "freeze")
_UNUSED: dict[str, tuple[str, ...]] = {
    "adapter.r": ("ia3", *_NOTHING),
    "adapter.alpha": ("vera", "ia3", *_NOTHING),
    "adapter.dropout": ("ia3", *_NOTHING),
    "adapter.layers": _NOTHING,
    "adapter.targets": _NOTHING,
    "adapter.modules_to_save": _NOTHING,
    "adapter.init_r": ("lora", "vera", "ia3", *_NOTHING),
    "adapter.last_layers": ("lora", "adalora", "vera", "ia3", "full"),
    "adapter.unfrozen": ("lora", "adalora", "vera", "ia3", "full"),
}
"""Fields, and the kinds of adapter that do not look at them."""


@rule(
    "adapter-unused",
    reads=("adapter.kind", *_UNUSED),
    reason="each kind of adapter has options of its own",
    fix="leave the option out, or choose the kind of adapter that it belongs to",
    warning=True,
)
def adapter_unused(config: RunConfig) -> Iterator[Finding]:
    for path, kinds in _UNUSED.items():
        if config.adapter.kind in kinds and is_set(config, path):
            yield (
                path,
                f"{spelled(path, value_at(config, path))} has no effect with adapter.kind={config.adapter.kind}: leave "
                "it out",
            )


@rule(
    "quantisation-unused",
    reads=("adapter.bits", "adapter.quant_type", "adapter.double_quant", "adapter.init", "adapter.loftq_bits"),
    reason="number format and double quantisation are of 4-bit weights",
    fix="set adapter.bits=4, or leave the option out",
    warning=True,
)
def quantisation_unused(config: RunConfig) -> Iterator[Finding]:
    adapter = config.adapter
    for path in ("adapter.quant_type", "adapter.double_quant"):
        if adapter.bits != 4 and is_set(config, path):
            yield path, f"{spelled(path, value_at(config, path))} has no effect without adapter.bits=4: leave it out"
    if is_set(config, "adapter.loftq_bits") and (adapter.init != "loftq" or adapter.bits is not None):
        yield (
            "adapter.loftq_bits",
            f"adapter.loftq_bits={adapter.loftq_bits} has an effect with adapter.init=loftq and adapter.bits=null "
            "alone: leave it out",
        )


@rule(
    "freeze-choice",
    reads=("adapter.kind", "adapter.last_layers", "adapter.unfrozen"),
    reason="something must be trained",
    fix="say adapter.last_layers=N or adapter.unfrozen=[PATTERN]",
    fails="torch's optimisers raise ValueError: optimizer got an empty parameter list",
)
def freeze_choice(config: RunConfig) -> Iterator[Finding]:
    adapter = config.adapter
    if adapter.kind == "freeze" and adapter.last_layers is None and not adapter.unfrozen:
        yield (
            "adapter.last_layers",
            "adapter.kind=freeze trains nothing yet: add adapter.last_layers=4, or adapter.unfrozen=[PATTERN]",
        )


@rule(
    "freeze-layers",
    reads=("adapter.kind", "adapter.last_layers", "model.architecture"),
    reason="no more layers can be trained than there are",
    fix="use fewer layers, or adapter=full",
    fails="the trainer takes all layers for the last ones, so that nothing but the embedding is frozen, without a word",
)
def freeze_layers(config: RunConfig) -> Iterator[Finding]:
    shape, count = config.model.architecture, config.adapter.last_layers
    if config.adapter.kind == "freeze" and shape is not None and count is not None and count > shape.num_hidden_layers:
        yield (
            "adapter.last_layers",
            f"adapter.last_layers={count}, and {config.model.name} has {shape.num_hidden_layers} layers: use "
            f"{shape.num_hidden_layers} or fewer, or adapter=full",
        )


@rule(
    "adapter-layers",
    reads=("adapter.kind", "adapter.layers", "model.architecture"),
    reason="layers are counted from 0 to one less than there are",
    fix="name layers that the model has",
    fails="PEFT leaves layers out that are not there, or raises ValueError: Target modules not found in the base model",
)
def adapter_layers(config: RunConfig) -> Iterator[Finding]:
    shape, layers = config.model.architecture, config.adapter.layers
    if shape is None or layers is None or not config.adapter.is_peft:
        return
    beyond = sorted(number for number in layers if number >= shape.num_hidden_layers)
    if beyond:
        yield (
            "adapter.layers",
            f"adapter.layers names {', '.join(map(str, beyond))}, and {config.model.name} has layers 0 to "
            f"{shape.num_hidden_layers - 1}",
        )


@rule(
    "adalora-rank",
    reads=("adapter.kind", "adapter.r", "adapter.init_r"),
    reason="AdaLoRA takes ranks away from those of the start",
    fix="leave adapter.init_r out (1.5 r), or make it larger than adapter.r",
    fails="PEFT's RankAllocator raises RuntimeError: kthvalue(): selected number k out of range, at its first "
    "allocation",
)
def adalora_rank(config: RunConfig) -> Iterator[Finding]:
    adapter = config.adapter
    if adapter.kind == "adalora" and initial_rank(adapter) <= adapter.r and adapter.init_r is not None:
        yield (
            "adapter.init_r",
            f"adapter.init_r={adapter.init_r} is not above adapter.r={adapter.r}, the rank at the end: use "
            f"adapter.init_r={-(-3 * adapter.r // 2)}, or leave it out",
        )


@rule(
    "orthogonal-rank",
    reads=("adapter.init", "adapter.r", "adapter.kind"),
    reason="orthogonal first values are made from pairs of rows",
    fix="use an even adapter.r",
    fails="PEFT raises ValueError: Orthogonal initialization requires the LoRA rank to be even",
)
def orthogonal_rank(config: RunConfig) -> Iterator[Finding]:
    adapter = config.adapter
    if adapter.kind == "lora" and adapter.init == "orthogonal" and adapter.r % 2:
        yield (
            "adapter.r",
            f"adapter.init=orthogonal needs an even rank, and adapter.r={adapter.r}: use {adapter.r + 1}",
        )


def narrowest(config: RunConfig) -> tuple[str, int] | None:
    """The adapted matrix with the smallest side, and that side; None where the shape or the targets are not known."""
    shape = config.model.architecture
    if shape is None:
        return None
    try:
        found = [(min(matrix.inputs, matrix.outputs), matrix.leaf)
                 for matrix, _ in targeted(shape, config.adapter.targets or [])
                 if matrix.kind == "linear"]  # fmt: skip
    except ValueError:
        return None
    return (min(found)[1], min(found)[0]) if found else None


@rule(
    "rank-first-values",
    reads=("adapter.kind", "adapter.init", "adapter.r", "adapter.targets", "model.architecture"),
    reason="a matrix has no more singular vectors than its shorter side",
    fix="use a smaller adapter.r",
    fails="PEFT makes matrices of fewer rows than r without a word, and the adapter that is written cannot be loaded "
    "again (size mismatch for lora_A)",
)
def rank_first_values(config: RunConfig) -> Iterator[Finding]:
    adapter, found = config.adapter, narrowest(config)
    if adapter.kind == "lora" and adapter.init in ("pissa", "olora", "loftq") and found and adapter.r > found[1]:
        yield (
            "adapter.r",
            f"adapter.init={adapter.init} takes adapter.r={adapter.r} vectors from {found[0]}, whose shorter side is "
            f"{found[1]}: use adapter.r={found[1]} or less",
        )


@rule(
    "rank-size",
    reads=("adapter.kind", "adapter.init", "adapter.r", "adapter.targets", "model.architecture"),
    reason="a low-rank product of full rank has more parameters than the matrix itself",
    fix="use a smaller adapter.r",
    warning=True,
)
def rank_size(config: RunConfig) -> Iterator[Finding]:
    adapter, found = config.adapter, narrowest(config)
    own = adapter.kind in ("lora", "adalora") and adapter.init not in ("pissa", "olora", "loftq")
    if own and found and adapter.r >= found[1]:
        yield (
            "adapter.r",
            f"adapter.r={adapter.r} is no low rank for {found[0]}, whose shorter side is {found[1]}: use less, as "
            f"adapter.r={max(1, found[1] // 4)}",
        )
