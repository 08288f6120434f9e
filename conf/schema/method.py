"""Group `method`: the training objective, the optimiser and its schedule; and `batch` and `precision` beside it."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from conf.schema.base import SHORT_NAME, Group, operational

Optimizer = Literal[
    "adamw", "adamw_fused", "adamw_8bit", "paged_adamw", "paged_adamw_8bit", "adafactor", "lion", "lion_8bit",
    "paged_lion", "paged_lion_8bit", "galore", "schedule_free", "muon", "sgd", "adagrad", "rmsprop", "stable_adamw",
    "ademamix", "ademamix_8bit", "apollo",
]  # fmt: skip
Schedule = Literal[
    "cosine", "linear", "constant", "constant_with_warmup", "cosine_with_min_lr", "cosine_with_restarts", "wsd",
    "polynomial", "inverse_sqrt", "rex", "one_cycle",
]  # fmt: skip


class MethodConfig(Group):
    """How the model is trained."""

    name: str = operational("sft", pattern=SHORT_NAME)
    """Short name, part of the run id: up to 40 letters, digits, dots, dashes and underscores."""
    objective: Literal["sft", "pretrain"] = "sft"
    """sft: the loss is over answer tokens alone. pretrain: over every token of plain text."""
    loss: Literal["nll", "dft"] = "nll"
    """nll: the mean negative log-likelihood of learnt tokens. dft: the same, each token weighted by its own probability
    (dynamic fine-tuning, Wu et al. 2025, arXiv:2508.05629)."""
    learning_rate: PositiveFloat | None = None
    """Peak learning rate; None takes adapter.learning_rate, scaled to the model's width."""
    embedding_learning_rate: PositiveFloat | None = None
    """Peak learning rate of input and output embeddings where they are trained; None: as all others."""
    epochs: PositiveFloat | None = None
    """Passes over the training rows; None takes data.epochs. No effect where max_steps is given."""
    max_steps: PositiveInt | None = None
    """Optimizer steps; None goes by epochs."""
    warmup: float | None = Field(None, ge=0.0)
    """Steps of warm-up from 0; below 1 a share of all steps. None: 0.03, and 0 with schedule=constant."""
    warmup_shape: Literal["linear", "quadratic"] = "linear"
    """Course of the learning rate during warm-up."""
    schedule: Schedule = "cosine"
    """Course of the learning rate after warm-up. constant has no warm-up. wsd: stable, then a decay over method.decay
    (Hu et al. 2024, arXiv:2404.06395). rex: Chen et al. 2021, arXiv:2107.04197. one_cycle: Smith and Topin 2017,
    arXiv:1708.07120, peak at the end of warm-up; beta1 moves against it unless method.beta1 is given."""
    min_lr_ratio: float = Field(0.1, ge=0.0, lt=1.0)
    """Learning rate at the end, as a share of the peak. With cosine_with_min_lr, wsd and rex."""
    constant_ratio: float = Field(0.0, ge=0.0, lt=1.0)
    """cosine_with_min_lr: the minimum is reached at 1 - constant_ratio of the steps, and held."""
    cycles: PositiveInt = 1
    """cosine_with_restarts: number of restarts."""
    decay: float = Field(0.1, gt=0.0, le=1.0)
    """wsd: share of all steps that the decay at the end takes."""
    optimizer: Optimizer = "adamw"
    """Optimiser. *_8bit: bitsandbytes' block-wise 8-bit states. paged_*: states move to host memory when a device is
    short of it. galore and apollo: gradients projected to a low rank (full tuning). schedule_free: method.warmup, but
    no schedule. muon: orthogonalised momentum for matrices, AdamW for all else."""
    beta1: float | None = Field(None, ge=0.0, lt=1.0)
    """Decay of the first moment; None is the optimiser's own (0.9 of AdamW)."""
    beta2: float | None = Field(None, ge=0.0, lt=1.0)
    """Decay of the second moment; None is the optimiser's own (0.999 of AdamW)."""
    epsilon: PositiveFloat | None = None
    """Term that keeps AdamW from dividing by zero; None is the optimiser's own (1e-8)."""
    optimizer_args: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Further arguments of the optimiser, as `rank` and `update_proj_gap` of galore."""
    max_grad_norm: NonNegativeFloat = 1.0
    """Gradients are scaled down to this norm; 0 switches clipping off."""
    neftune_alpha: PositiveFloat | None = None
    """Noise on the input embeddings (NEFTune, Jain et al. 2023, arXiv:2310.05914; 5 there); None: none."""
    early_stopping: PositiveInt | None = None
    """Evaluations in a row without a lower loss after which training ends; None: never."""
    gradient_checkpointing: bool | None = operational(None)
    """Recompute activations in the backward pass to save memory. None: on with a GPU, off without."""
    liger: bool = operational(False)
    """Use the fused kernels of the package liger-kernel (norms, rotary positions, MLP, cross entropy): the same numbers
    up to rounding with less memory. Needs a GPU and the package."""
    compile: bool = operational(False)
    """Compile the model with torch.compile at the start."""


class BatchConfig(Group):
    """Sequences per step. Any two of the three determine the third; what is not given is derived."""

    global_: PositiveInt | None = Field(None, alias="global")
    """Sequences in one optimizer step over all workers."""
    micro: PositiveInt | None = operational(None)
    """Sequences in one forward pass of one worker."""
    accumulation: PositiveInt | None = operational(None)
    """Forward passes of one worker in one optimizer step."""
    evaluation: PositiveInt | None = operational(None)
    """Sequences in one forward pass of one worker during evaluation; None is batch.micro."""


class PrecisionConfig(Group):
    """Number formats of the computation."""

    compute: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Format of activations and matrix products. auto: bf16 on a GPU (fp16 on one of NVIDIA's before compute capability
    8.0), fp32 on a CPU; the derived value is frozen. fp16 scales its losses, for GPUs without bf16."""
    weights: Literal["auto", "fp32", "bf16"] = "auto"
    """Format that trained weights are kept in. auto: fp32 copies, since small steps are lost in bf16; adapters always
    are."""
    tf32: bool = operational(False)
    """Compute fp32 matrix products in TF32 (19 bits), on NVIDIA GPUs since Ampere."""
