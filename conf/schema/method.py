"""Group `method`: the training objective, the optimiser and its schedule."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from conf.schema.base import SHORT_NAME, Group, operational


class MethodConfig(Group):
    """How the model is trained."""

    name: str = operational("sft", pattern=SHORT_NAME)
    """Short name, part of the run id: up to 40 letters, digits, dots, dashes and underscores."""
    objective: Literal["sft", "pretrain"] = "sft"
    """sft: the loss is over answer tokens alone. pretrain: over every token of plain text."""
    learning_rate: PositiveFloat | None = None
    """Peak learning rate; None takes adapter.learning_rate, scaled to the model's width."""
    epochs: PositiveFloat | None = None
    """Passes over the training rows; None takes data.epochs. No effect where max_steps is given."""
    max_steps: PositiveInt | None = None
    """Optimizer steps; None goes by epochs."""
    warmup: float = Field(0.03, ge=0.0)
    """Steps of linear warm-up; below 1 a share of all steps."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Course of the learning rate after warm-up."""
    optimizer: Literal["adamw", "adamw_fused", "adamw_8bit"] = "adamw"
    """Optimiser. adamw_8bit is bitsandbytes' block-wise 8-bit AdamW."""
    max_grad_norm: NonNegativeFloat = 1.0
    """Gradients are scaled down to this norm; 0 switches clipping off."""
    gradient_checkpointing: bool | None = operational(None)
    """Recompute activations in the backward pass to save memory. None: on with a GPU, off without."""


class BatchConfig(Group):
    """Sequences per step. Any two of the three determine the third; what is not given is derived."""

    global_: PositiveInt | None = Field(None, alias="global")
    """Sequences in one optimizer step over all workers."""
    micro: PositiveInt | None = operational(None)
    """Sequences in one forward pass of one worker."""
    accumulation: PositiveInt | None = operational(None)
    """Forward passes of one worker in one optimizer step."""


class PrecisionConfig(Group):
    """Number formats of the computation."""

    compute: Literal["auto", "bf16", "fp32"] = "auto"
    """Format of weights and activations. auto: bf16 on a GPU, fp32 on a CPU; the derived value is frozen."""
