"""Rules of what is trained whole: modules beside an adapter, unfrozen weights, embeddings that grow."""

import re
from collections.abc import Iterator

from conf.schema.model import Architecture
from conf.schema.problems import did_you_mean
from conf.schema.rules.adapter_sharding import LAYOUT, layouts_for_output
from conf.schema.rules.registry import Finding, rule
from conf.schema.run import RunConfig
from conf.schema.sizes import matrices

_OUTER = ("embed_tokens", "lm_head")
_NORMS = (
    "input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm",
    "self_attn.q_norm", "self_attn.k_norm", "self_attn.q_a_layernorm", "self_attn.kv_a_layernorm",
)  # fmt: skip
_LAST_NORMS = ("norm", "final_layernorm")
"""Every norm that a family of ours may have."""
_MOST_LAYERS = 1000
"""More layers than any model has; a folder's config.json may say anything."""


@rule(
    "modules-unknown",
    reads=("adapter.kind", "adapter.modules_to_save", "model.architecture"),
    reason="what is trained whole must be there",
    fix="name modules of this model, as embed_tokens and lm_head",
    fails="PEFT passes over a name that matches no module, without a word: it stays frozen",
)
def modules_unknown(config: RunConfig) -> Iterator[Finding]:
    shape = config.model.architecture
    if shape is None or not config.adapter.is_peft:
        return
    known = {matrix.leaf for matrix in matrices(shape)} | {name.rpartition(".")[2] for name in (*_NORMS, *_LAST_NORMS)}
    for name in config.adapter.modules_to_save:
        if name.rpartition(".")[2] not in known:
            yield (
                "adapter.modules_to_save",
                f"{config.model.name} has no module {name!r}; {did_you_mean(name, known)}".rstrip("; "),
            )


@rule(
    "modules-targeted",
    reads=("adapter.targets", "adapter.modules_to_save", "adapter.kind"),
    reason="a module is trained whole or by an adapter, not both",
    fix="leave it out of one of the two",
    warning=True,
)
def modules_targeted(config: RunConfig) -> Iterator[Finding]:
    both = sorted(set(config.adapter.targets or []) & set(config.adapter.modules_to_save))
    if both and config.adapter.is_peft:
        yield (
            "adapter.modules_to_save",
            f"{', '.join(both)} is in adapter.targets and in adapter.modules_to_save; it is trained whole, so leave it "
            "out of adapter.targets",
        )


@rule(
    "modules-tied",
    reads=("adapter.kind", "adapter.modules_to_save", "model.architecture", *LAYOUT),
    reason="where the output layer is the embedding, training one of them makes two of them",
    fix="name both in adapter.modules_to_save, or neither",
    warning=True,
)
def modules_tied(config: RunConfig) -> Iterator[Finding]:
    shape = config.model.architecture
    if shape is None or not shape.tie_word_embeddings or not config.adapter.is_peft:
        return
    saved = [name for name in _OUTER if name in {name.rpartition(".")[2] for name in config.adapter.modules_to_save}]
    if len(saved) == 1:
        other = next(name for name in _OUTER if name not in saved)
        yield (
            "adapter.modules_to_save",
            f"{config.model.name} has one matrix for embedding and output, and {saved[0]} alone would be trained: "
            f"{other} stays as it was, and the adapter cannot be merged back; use "
            f"adapter.modules_to_save=[{','.join(_OUTER)}]{_and_layout(config)}",
        )


def _and_layout(config: RunConfig) -> str:
    """What must be typed beside for the output layer to learn (rule output-sharding)."""
    layouts = layouts_for_output(config)
    return f" with {layouts}" if layouts else ""


@rule(
    "vocabulary-growth",
    reads=(
        "model.added_tokens",
        "adapter.kind",
        "adapter.modules_to_save",
        "adapter.targets",
        "adapter.unfrozen",
        *LAYOUT,
    ),
    reason="new rows of the embedding mean something only once they are trained",
    fix="add adapter.modules_to_save=[embed_tokens,lm_head]",
    warning=True,
)
def vocabulary_growth(config: RunConfig) -> Iterator[Finding]:
    adapter, added = config.adapter, config.model.added_tokens
    if not added or adapter.kind == "full" or adapter.unfrozen:
        return
    trained = {name.rpartition(".")[2] for name in (*adapter.modules_to_save, *(adapter.targets or []))}
    missing = [name for name in _OUTER if name not in trained]
    if "embed_tokens" in missing:
        way = "adapter.unfrozen=['model\\.embed_tokens']" if adapter.kind == "freeze" else (
            f"adapter.modules_to_save=[{','.join(_OUTER)}]{_and_layout(config)}"
        )  # fmt: skip
        yield (
            "model.added_tokens",
            f"the rows of {len(added)} added tokens are never trained, unless the vocabulary has them already: add "
            f"{way}",
        )


@rule(
    "unfrozen-unknown",
    reads=("adapter.kind", "adapter.unfrozen", "model.architecture"),
    reason="a pattern must match the name of a parameter, from its start",
    fix="write patterns as model\\.layers\\.31\\. or lm_head",
    fails="the trainer stops before the first step: adapter.unfrozen matches no parameter",
)
def unfrozen_unknown(config: RunConfig) -> Iterator[Finding]:
    shape = config.model.architecture
    if config.adapter.kind != "freeze" or shape is None:
        return
    names = _parameter_names(shape)
    for pattern in config.adapter.unfrozen:
        try:
            matched = any(re.match(pattern, name) for name in names)
        except (re.error, RecursionError, OverflowError) as error:
            yield "adapter.unfrozen", f"{pattern!r} is no regular expression: {error}"
            continue
        if not matched:
            yield (
                "adapter.unfrozen",
                f"{pattern!r} matches no parameter of {config.model.name} from its start: names are as "
                f"model.layers.{shape.num_hidden_layers - 1}.{matrices(shape)[0].path}.weight, "
                "model.embed_tokens.weight and lm_head.weight",
            )


def _parameter_names(shape: Architecture) -> list[str]:
    """Every name that a parameter of this model has, and some that it may have."""
    paths: list[str] = []
    for matrix in matrices(shape):
        if matrix.kind == "experts":
            paths.append(matrix.path)
        elif matrix.kind != "outer":
            paths += [f"{matrix.path}.weight", f"{matrix.path}.bias"]
    paths += [f"{norm}.{part}" for norm in _NORMS for part in ("weight", "bias")]
    names = [
        f"model.layers.{number}.{path}"
        for number in range(min(shape.num_hidden_layers, _MOST_LAYERS))
        for path in paths
    ]
    names += [f"model.{norm}.{part}" for norm in _LAST_NORMS for part in ("weight", "bias")]
    # A tied output layer is the embedding, under the embedding's name alone.
    outer = [] if shape.tie_word_embeddings else ["lm_head.weight"]
    outer += ["lm_head.bias"] if any(matrix.path == "lm_head" and matrix.bias for matrix in matrices(shape)) else []
    return [*names, "model.embed_tokens.weight", *outer]
