"""How many parameters a model has, and how many LoRA adds: formulas over an Architecture, nothing is read or loaded.

The shapes are those of transformers' classes (checked against them on the meta device in tests/trainer). One list of
weight matrices carries all counts; trainable.py has those of the other adapters.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from conf.schema.model import Architecture, Family

ALL_LINEAR = "all-linear"
"""Target that stands for every linear layer but the output."""


@dataclass(frozen=True)
class Matrix:
    """Weight matrices of one shape: outputs x inputs, `copies` of them in the model."""

    path: str
    """Module's path inside its decoder layer, or inside the model."""
    inputs: int
    outputs: int
    copies: int
    bias: bool = False
    experts: int = 1
    """Expert matrices that lie stacked in each copy."""
    kind: Literal["linear", "experts", "router", "outer"] = "linear"
    """linear: a layer of its own. experts: a stack without layers of its own. router: a bare weight in a module of its
    own. outer: embedding or output layer."""

    @property
    def parameters(self) -> int:
        """Weights and biases of all copies."""
        return self.copies * (self.experts * self.inputs * self.outputs + (self.outputs if self.bias else 0))

    @property
    def leaf(self) -> str:
        """Last part of the path."""
        return self.path.rpartition(".")[2]

    def is_named(self, target: str) -> bool:
        """Whether an adapter's target means this matrix: its path, or the path's last parts."""
        return self.path == target or self.path.endswith(f".{target}")


@dataclass(frozen=True)
class _Traits:
    """What sets a family apart; the defaults are Llama's."""

    qkv_bias: bool | None = None
    """None: as attention_bias says."""
    output_bias: bool | None = None
    output: str = "o_proj"
    mlp: tuple[str, ...] = ("gate_proj", "up_proj", "down_proj")
    """Two names: an MLP without gate."""
    mlp_bias: bool | None = None
    norms: int = 2
    """Norms of the residual's width in each layer."""
    norm_vectors: int = 1
    """1: RMSNorm (weight). 2: LayerNorm (weight and bias)."""
    head_norms: Literal["none", "head", "width"] = "none"
    """Norms of queries and keys: none, one of a head's width each, or one over all heads each."""
    fused: bool = False
    """Queries, keys and values are one layer, gate and up too."""
    head_bias: bool | None = None
    router: str = "gate"
    expert_targets: tuple[str, ...] = ()
    """Names of gate, up and down by which PEFT reaches stacked experts; none: it does not."""


_SPARSE = ("gate_proj", "up_proj", "down_proj")
_TRAITS: dict[Family, _Traits] = {
    "llama": _Traits(),
    "mistral": _Traits(qkv_bias=False, output_bias=False, mlp_bias=False),
    "mixtral": _Traits(qkv_bias=False, output_bias=False, expert_targets=("w1", "w3", "w2")),
    "gemma": _Traits(mlp_bias=False),
    "gemma2": _Traits(mlp_bias=False, norms=4),
    "gemma3_text": _Traits(mlp_bias=False, norms=4, head_norms="head"),
    "qwen2": _Traits(qkv_bias=True, output_bias=False, mlp_bias=False),
    "qwen2_moe": _Traits(qkv_bias=True, output_bias=False, mlp_bias=False),
    "qwen3": _Traits(mlp_bias=False, head_norms="head"),
    "qwen3_moe": _Traits(mlp_bias=False, head_norms="head", expert_targets=_SPARSE),
    "phi": _Traits(
        qkv_bias=True,
        output_bias=True,
        output="dense",
        mlp=("fc1", "fc2"),
        mlp_bias=True,
        norms=1,
        norm_vectors=2,
        head_bias=True,
    ),
    "phi3": _Traits(qkv_bias=False, output_bias=False, mlp_bias=False, fused=True),
    "phimoe": _Traits(norm_vectors=2, router="router"),
    "deepseek_v2": _Traits(expert_targets=_SPARSE),
    "deepseek_v3": _Traits(mlp_bias=False, expert_targets=_SPARSE),
    "starcoder2": _Traits(qkv_bias=True, output_bias=True, mlp=("c_fc", "c_proj"), mlp_bias=True, norm_vectors=2),
    "granite": _Traits(),
    "granitemoe": _Traits(router="router"),
    "olmo2": _Traits(mlp_bias=False, head_norms="width"),
}


def parameter_count(shape: Architecture) -> int:
    """Parameters of the causal language model; a tied output layer counts once."""
    count = sum(matrix.parameters for matrix in matrices(shape)) + _norm_parameters(shape)
    if shape.tie_word_embeddings:
        count -= shape.vocab_size * shape.hidden_size
    return count


def lora_parameter_count(shape: Architecture, r: int, targets: Iterable[str]) -> int:
    """Parameters that LoRA of rank r trains beside the layers named in `targets`, as PEFT 0.21 attaches it.

    A layer of i inputs and o outputs gets r * (i + o) (Hu et al. 2021, arXiv:2106.09685, section 4.1), and so does each
    expert of a stack; a stacked gate and up get rank 2 r, since they are two layers. Targets are last parts of module
    paths (`q_proj`) or `all-linear`; those that name nothing count nothing. Where names reach stacked experts, PEFT
    leaves out dense MLPs and shared experts of the same names. Raises ValueError where PEFT would: gate or up of
    stacked experts without the other.
    """
    return sum(
        matrix.copies * matrix.experts * rank * r * (matrix.inputs + matrix.outputs)
        for matrix, rank in targeted(shape, targets)
    )


def targeted(shape: Architecture, targets: Iterable[str]) -> Iterator[tuple[Matrix, int]]:
    """The matrices that PEFT's LoRA reaches by `targets`, each with how many layers lie stacked in it (1 or 2).

    Raises ValueError as lora_parameter_count does."""
    modules, stacks = _split_targets(shape, set(targets))
    for matrix in matrices(shape):
        if matrix.kind in ("linear", "outer"):
            if any(matrix.is_named(target) for target in modules):
                yield matrix, 1
        elif matrix.path in stacks:
            yield matrix, 2 if matrix.path == _GATE_UP else 1


def output_norm_parameters(shape: Architecture) -> int:
    """Parameters of the norm after the last decoder layer."""
    return shape.hidden_size * _TRAITS[shape.family].norm_vectors


def ia3_targets(family: Family) -> list[str]:
    """Layers whose activations (IA)3 scales: keys, values, and what goes into the MLP's last layer (Liu et al. 2022,
    arXiv:2205.05638, section 3.3).

    Fused queries, keys and values are scaled as one; experts that lie in one stack have no layer of this name."""
    traits = _TRAITS[family]
    if family.startswith("deepseek"):
        attention = ["kv_b_proj"]
    else:
        attention = ["qkv_proj"] if traits.fused else ["k_proj", "v_proj"]
    return [*attention, traits.mlp[-1]]


FEEDFORWARD = frozenset({traits.mlp[-1] for traits in _TRAITS.values()})
"""Names of the MLP's last layer in all families."""


_GATE_UP = "mlp.experts.gate_up_proj"
_DOWN = "mlp.experts.down_proj"


def _split_targets(shape: Architecture, targets: set[str]) -> tuple[set[str], set[str]]:
    """Targets that name modules, and paths of the stacked experts and routers that the other targets reach."""
    traits = _TRAITS[shape.family]
    if ALL_LINEAR in targets:
        leaves = {matrix.leaf for matrix in matrices(shape) if matrix.kind == "linear"}
        targets = (targets - {ALL_LINEAR}) | leaves | set(traits.expert_targets)
        targets |= {traits.router} if traits.expert_targets else set()
    if not traits.expert_targets:
        return targets, set()
    gate, up, down = traits.expert_targets
    reached = {gate: _GATE_UP, up: _GATE_UP, down: _DOWN, traits.router: f"mlp.{traits.router}"}
    found = {target: target.rpartition(".")[2] for target in targets if target.rpartition(".")[2] in reached}
    if (gate in found.values()) != (up in found.values()):
        raise ValueError(f"{gate} and {up} are one stacked weight in {shape.family}: target both or neither")
    return targets - set(found), {reached[name] for name in found.values()}


def matrices(shape: Architecture) -> list[Matrix]:
    """Every weight matrix of the model, the output layer included even where it is tied to the embedding."""
    traits = _TRAITS[shape.family]
    head_bias = shape.lm_head_bias if traits.head_bias is None else traits.head_bias
    return [
        *(_latent_attention(shape) if shape.kv_lora_rank else _attention(shape, traits)),
        *_mlps(shape, traits),
        Matrix("embed_tokens", shape.vocab_size, shape.hidden_size, 1, kind="outer"),
        Matrix("lm_head", shape.hidden_size, shape.vocab_size, 1, bias=head_bias, kind="outer"),
    ]


def _attention(shape: Architecture, traits: _Traits) -> list[Matrix]:
    width, layers = shape.hidden_size, shape.num_hidden_layers
    query, key = shape.num_attention_heads * shape.head_dim, shape.num_key_value_heads * shape.head_dim
    bias = shape.attention_bias if traits.qkv_bias is None else traits.qkv_bias
    if traits.fused:
        inputs = [Matrix("self_attn.qkv_proj", width, query + 2 * key, layers, bias)]
    else:
        sizes = {"q_proj": query, "k_proj": key, "v_proj": key}
        inputs = [Matrix(f"self_attn.{name}", width, size, layers, bias) for name, size in sizes.items()]
    bias = shape.attention_bias if traits.output_bias is None else traits.output_bias
    return [*inputs, Matrix(f"self_attn.{traits.output}", query, width, layers, bias)]


def _latent_attention(shape: Architecture) -> list[Matrix]:
    """Keys, values and perhaps queries through a narrow layer (DeepSeek-V2, arXiv:2405.04434, section 2.1)."""
    rank, rope, values = shape.kv_lora_rank, shape.qk_rope_head_dim, shape.v_head_dim
    if rank is None or rope is None or shape.qk_nope_head_dim is None or values is None:
        raise ValueError("latent attention needs kv_lora_rank, qk_rope_head_dim, qk_nope_head_dim and v_head_dim")
    width, heads, layers = shape.hidden_size, shape.num_attention_heads, shape.num_hidden_layers
    bias = shape.attention_bias
    query = heads * (shape.qk_nope_head_dim + rope)
    if shape.q_lora_rank is None:
        queries = [Matrix("self_attn.q_proj", width, query, layers)]
    else:
        queries = [
            Matrix("self_attn.q_a_proj", width, shape.q_lora_rank, layers, bias),
            Matrix("self_attn.q_b_proj", shape.q_lora_rank, query, layers),
        ]
    return [
        *queries,
        Matrix("self_attn.kv_a_proj_with_mqa", width, rank + rope, layers, bias),
        Matrix("self_attn.kv_b_proj", rank, heads * (shape.qk_nope_head_dim + values), layers),
        Matrix("self_attn.o_proj", heads * values, width, layers, bias),
    ]


def _mlps(shape: Architecture, traits: _Traits) -> list[Matrix]:
    layers, experts = shape.num_hidden_layers, shape.num_experts
    bias = shape.mlp_bias if traits.mlp_bias is None else traits.mlp_bias
    if experts is None:
        return _mlp(shape, traits, "mlp", shape.intermediate_size, layers, bias)
    width, inner = shape.hidden_size, shape.moe_intermediate_size or shape.intermediate_size
    dense = min(shape.first_k_dense_replace, layers)
    sparse = layers - dense
    router: Literal["linear", "router"] = "linear" if shape.family == "phimoe" else "router"
    found = _mlp(shape, traits, "mlp", shape.intermediate_size, dense, bias) if dense else []
    found += [
        Matrix(f"mlp.{traits.router}", width, experts, sparse, kind=router),
        Matrix(_GATE_UP, width, 2 * inner, sparse, experts=experts, kind="experts"),
        Matrix(_DOWN, inner, width, sparse, experts=experts, kind="experts"),
    ]
    if shape.shared_expert_intermediate_size is not None:
        place = "mlp.shared_expert" if shape.family == "qwen2_moe" else "mlp.shared_experts"
        found += _mlp(shape, traits, place, shape.shared_expert_intermediate_size, sparse, bias)
        if shape.family == "qwen2_moe":
            found.append(Matrix("mlp.shared_expert_gate", width, 1, sparse))
    return found


def _mlp(shape: Architecture, traits: _Traits, place: str, inner: int, copies: int, bias: bool) -> list[Matrix]:
    *inward, outward = traits.mlp
    width = shape.hidden_size
    if traits.fused:
        found = [Matrix(f"{place}.gate_up_proj", width, 2 * inner, copies, bias)]
    else:
        found = [Matrix(f"{place}.{name}", width, inner, copies, bias) for name in inward]
    return [*found, Matrix(f"{place}.{outward}", inner, width, copies, bias)]


def _norm_parameters(shape: Architecture) -> int:
    traits = _TRAITS[shape.family]
    layer = traits.norms * shape.hidden_size * traits.norm_vectors
    if traits.head_norms == "head":
        layer += 2 * shape.head_dim
    elif traits.head_norms == "width":
        layer += (shape.num_attention_heads + shape.num_key_value_heads) * shape.head_dim
    layer += (shape.kv_lora_rank or 0) + (shape.q_lora_rank or 0)
    return shape.num_hidden_layers * layer + output_norm_parameters(shape)
