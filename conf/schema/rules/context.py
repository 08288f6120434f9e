"""Rules of sequence length against the model's context, and of stretching that context."""

from collections.abc import Iterator

from conf.schema.rules.registry import Finding, rule
from conf.schema.run import RunConfig

_LONGEST = 2**62
"""More positions than anybody has; larger factors say no more."""


def stretched_context(own: int, factor: float | None) -> int:
    """Positions that a model takes whose own context is stretched by a factor."""
    return own if factor is None else int(min(min(own, _LONGEST) * factor, _LONGEST))


@rule(
    "context-length",
    reads=("data.max_length", "model.architecture", "model.rope"),
    reason="positions beyond the trained context have no meaning to the model",
    fix="use a shorter data.max_length, or stretch the context by model.rope",
    fails="transformers computes such positions without a word: the model has never seen them, and its loss says so",
)
def context_length(config: RunConfig) -> Iterator[Finding]:
    shape, rope, length = config.model.architecture, config.model.rope, config.data.max_length
    if shape is None:
        return
    own = shape.max_position_embeddings
    context = stretched_context(own, rope.factor) if rope.type is not None else own
    if length > context:
        beyond = f"{own} positions of {config.model.name}" + (f" x {rope.factor:g}" if context != own else "")
        factor = -(-length // own)
        yield (
            "data.max_length",
            f"data.max_length={length} exceeds the {beyond}: use data.max_length={context} or less, or "
            f"model.rope.type=yarn model.rope.factor={factor}",
        )


@rule(
    "rope-complete",
    reads=("model.rope",),
    reason="a kind of stretching needs its factor, and a factor its kind",
    fix="give model.rope.type and model.rope.factor together",
    fails="transformers raises KeyError: Missing required keys in rope_parameters, factor; a factor alone changes "
    "nothing",
)
def rope_complete(config: RunConfig) -> Iterator[Finding]:
    rope = config.model.rope
    if rope.type is not None and rope.factor is None:
        yield "model.rope.factor", f"model.rope.type={rope.type} needs a factor: add model.rope.factor=2.0"
    elif rope.factor is not None and rope.type is None:
        yield (
            "model.rope.type",
            f"model.rope.factor={rope.factor:g} has no effect without a kind of stretching: add model.rope.type=yarn",
        )


@rule(
    "rope-twice",
    reads=("model.rope", "model.architecture"),
    reason="the model's own stretching is given up, which it was trained with",
    fix="leave model.rope out where the context is long enough",
    warning=True,
)
def rope_twice(config: RunConfig) -> Iterator[Finding]:
    shape, rope = config.model.architecture, config.model.rope
    if rope.type is not None and shape is not None and shape.rope_scaling is not None:
        yield (
            "model.rope.type",
            f"{config.model.name} has been stretched already ({shape.rope_scaling.rope_type}, to "
            f"{shape.max_position_embeddings} positions), and model.rope.type={rope.type} takes the place of that: "
            "leave model.rope out unless you mean to train it anew",
        )


@rule(
    "rope-unneeded",
    reads=("model.rope", "model.architecture", "data.max_length"),
    reason="stretching changes short sequences too",
    fix="leave model.rope out, or use a longer data.max_length",
    warning=True,
)
def rope_unneeded(config: RunConfig) -> Iterator[Finding]:
    shape, rope = config.model.architecture, config.model.rope
    if rope.type is None or rope.factor is None or shape is None:
        return
    if config.data.max_length <= shape.max_position_embeddings:
        yield (
            "model.rope.factor",
            f"{config.model.name} takes {shape.max_position_embeddings} positions unstretched, and data.max_length="
            f"{config.data.max_length}: leave model.rope out, or use data.max_length="
            f"{stretched_context(shape.max_position_embeddings, rope.factor)}",
        )
