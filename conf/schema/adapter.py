"""Group `adapter`: which parameters are trained, and at what precision the others rest."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from conf.schema.base import SHORT_NAME, Group, operational

Kind = Literal["lora", "adalora", "vera", "ia3", "freeze", "full"]
Init = Literal["default", "gaussian", "orthogonal", "pissa", "olora", "loftq"]


class AdapterConfig(Group):
    """What is trained: all weights, some of them, or small matrices beside frozen ones."""

    name: str = operational("lora", pattern=SHORT_NAME)
    """Short name, part of the run id: up to 40 letters, digits, dots, dashes and underscores."""
    kind: Kind = "lora"
    """lora: low-rank matrices beside frozen weights (Hu et al. 2021, arXiv:2106.09685). adalora: their ranks shrink to
    where they matter (Zhang et al. 2023, arXiv:2303.10512). vera: shared random matrices, trained scales (Kopiczko et
    al. 2023, arXiv:2310.11454). ia3: trained scales of activations (Liu et al. 2022, arXiv:2205.05638). freeze: some of
    the weights themselves, the others frozen. full: every weight."""
    r: PositiveInt = 16
    """Rank of the low-rank matrices; of adalora the mean rank at the end. No effect with ia3, freeze and full."""
    alpha: PositiveFloat = 32.0
    """Scale: the low-rank product is multiplied by alpha / r, or alpha / sqrt(r) with adapter.rslora. No effect with
    vera, ia3, freeze and full."""
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    """Dropout probability on the adapter's input. No effect with ia3, freeze and full."""
    targets: list[str] | None = None
    """Names of the linear layers that get an adapter, or `all-linear`; None takes the model's own list."""
    target_parameters: list[str] = Field(default_factory=list)
    """kind=lora: names of bare parameters that get an adapter beside the targets, as `mlp.experts.gate_up_proj`."""
    layers: list[NonNegativeInt] | None = None
    """Numbers of the decoder layers that get an adapter, counted from 0; None: all."""
    modules_to_save: list[str] = Field(default_factory=list)
    """Modules trained and saved whole beside the adapter, as `embed_tokens`."""
    dora: bool = False
    """Magnitude and direction trained apart (Liu et al. 2024, arXiv:2402.09353). With kind=lora."""
    rslora: bool = False
    """Scale by alpha / sqrt(r), which keeps high ranks learning (Kalajdzievski 2023, arXiv:2312.03732)."""
    init: Init = "default"
    """First values of the low-rank matrices. default: A uniform (Kaiming), B zero. gaussian: A normal, B zero.
    orthogonal: orthogonal rows. pissa: the principal singular vectors (arXiv:2404.03948). olora: a QR decomposition
    (arXiv:2406.01775). loftq: what makes up for quantisation (arXiv:2310.08659). The last three change the frozen
    weights. The adapter that pissa and olora write fits the original weights all the same (its rank is 2 r); that of
    loftq fits weights quantised by bitsandbytes in adapter.bits, or else in loftq_bits."""
    loftq_bits: Literal[4, 8] = 4
    """init=loftq: bits of the quantisation that it makes up for where adapter.bits is None: weights rest in full size,
    with the values that quantisation leaves them (in 4 bits NF4, without double quantisation)."""
    loraplus_ratio: PositiveFloat | None = None
    """LoRA+: matrix B learns so many times faster than A (Hayou et al. 2024, arXiv:2402.12354; 16 there). None: as
    fast."""
    init_r: PositiveInt | None = None
    """adalora: rank at the start, above r; None is 1.5 r, rounded up."""
    last_layers: PositiveInt | None = None
    """freeze: so many decoder layers at the end are trained, with the final norm and the output layer."""
    unfrozen: list[str] = Field(default_factory=list)
    """freeze: regular expressions, matched from the start of a parameter's name; those that match are trained."""
    bits: Literal[4, 8] | None = None
    """Frozen weights rest in this many bits (bitsandbytes). None: not quantised."""
    quant_type: Literal["nf4", "fp4"] = "nf4"
    """Number format of 4-bit weights: nf4 (Dettmers et al. 2023, arXiv:2305.14314) or fp4."""
    double_quant: bool = True
    """Quantise the scales of 4-bit weights too."""
    learning_rate: PositiveFloat = 2e-4
    """Peak learning rate that suits this adapter on a model of width 4096. It is taken, scaled to the model's width,
    where method.learning_rate is not given."""
    weight_decay: NonNegativeFloat = 0.0
    """Decoupled weight decay of the trained parameters."""

    @property
    def is_peft(self) -> bool:
        """Whether PEFT holds the trained parameters, and an adapter folder is the result."""
        return self.kind not in ("freeze", "full")
