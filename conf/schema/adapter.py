"""Group `adapter`: which parameters are trained, and at what precision the others rest."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from conf.schema.base import SHORT_NAME, Group, operational


class AdapterConfig(Group):
    """What is trained: all weights, or low-rank matrices beside frozen ones."""

    name: str = operational("lora", pattern=SHORT_NAME)
    """Short name, part of the run id: up to 40 letters, digits, dots, dashes and underscores."""
    kind: Literal["lora", "full"] = "lora"
    """lora: low-rank matrices beside frozen weights (Hu et al. 2021, arXiv:2106.09685). full: every weight."""
    r: PositiveInt = 16
    """Rank of the low-rank matrices. No effect with kind=full."""
    alpha: PositiveFloat = 32.0
    """Scale: the low-rank product is multiplied by alpha / r."""
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    """Dropout probability on the adapter's input."""
    targets: list[str] | None = None
    """Names of the linear layers that get an adapter; None takes the model's own list."""
    modules_to_save: list[str] = Field(default_factory=list)
    """Modules trained and saved whole beside the adapter, as `embed_tokens`."""
    bits: Literal[4, 8] | None = None
    """Frozen weights rest in this many bits (bitsandbytes; 4 is NF4 with double quantisation). None: not quantised."""
    learning_rate: PositiveFloat = 2e-4
    """Peak learning rate that suits this adapter on a model of width 4096. It is taken, scaled to the model's width,
    where method.learning_rate is not given."""
    weight_decay: NonNegativeFloat = 0.0
    """Decoupled weight decay of the trained parameters."""
