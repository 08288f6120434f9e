"""Facts about optimisers: what each takes, what it needs, and where it can run. Read by rules and by the trainer."""

from dataclasses import dataclass

LAYOUTS = frozenset({"ddp", "fsdp2", "zero1", "zero2", "zero3"})
"""Every value of parallel.strategy that a run can have."""


@dataclass(frozen=True)
class OptimizerFacts:
    """What is known of one optimiser."""

    package: str | None = None
    """What pip installs beside the tool for it; None: nothing."""
    beta1: bool = True
    """Whether method.beta1 means something to it."""
    beta2: bool = True
    """Whether method.beta2 means something to it."""
    epsilon: bool = True
    """Whether method.epsilon means something to it."""
    layouts: frozenset[str] = LAYOUTS
    """Values of parallel.strategy under which it computes what it should."""
    why: str = ""
    """Why not under the others."""
    full_only: bool = False
    """Whether it is made for full matrices, so that it saves nothing on an adapter's small ones."""
    scheduled: bool = True
    """Whether method.schedule has an effect."""


_DDP = frozenset({"ddp"})
_DDP_FSDP2 = frozenset({"ddp", "fsdp2"})
_DDP_ZERO = frozenset({"ddp", "zero1", "zero2", "zero3"})
_WHOLE = "it needs whole matrices, of which a worker then holds a part"
_FLAT = "it needs whole matrices, and DeepSpeed hands it flat pieces of them"
_COPIES = "it moves weights outside its steps, and DeepSpeed keeps copies of them"
_EARLY = "it makes its states before the weights are sharded"
_KERNELS = "bitsandbytes has no kernels for torch's sharded tensors"


def _bitsandbytes(epsilon: bool = True) -> OptimizerFacts:
    return OptimizerFacts(epsilon=epsilon, layouts=_DDP_ZERO, why=_KERNELS)


FACTS: dict[str, OptimizerFacts] = {
    "adamw": OptimizerFacts(),
    "adamw_fused": OptimizerFacts(),
    "adamw_8bit": _bitsandbytes(),
    "paged_adamw": _bitsandbytes(),
    "paged_adamw_8bit": _bitsandbytes(),
    "adafactor": OptimizerFacts(beta2=False, epsilon=False, layouts=_DDP, why=_WHOLE),
    "lion": _bitsandbytes(epsilon=False),
    "lion_8bit": _bitsandbytes(epsilon=False),
    "paged_lion": _bitsandbytes(epsilon=False),
    "paged_lion_8bit": _bitsandbytes(epsilon=False),
    "galore": OptimizerFacts("galore-torch", layouts=_DDP, why=_WHOLE, full_only=True),
    "schedule_free": OptimizerFacts("schedulefree", layouts=_DDP_FSDP2, why=_COPIES, scheduled=False),
    "muon": OptimizerFacts(layouts=_DDP_FSDP2, why=_FLAT),
    "sgd": OptimizerFacts(beta1=False, beta2=False, epsilon=False),
    "adagrad": OptimizerFacts(beta1=False, beta2=False, layouts=_DDP, why=_EARLY),
    "rmsprop": OptimizerFacts(beta1=False, beta2=False),
    "stable_adamw": OptimizerFacts("torch-optimi", layouts=_DDP_FSDP2, why=_FLAT),
    "ademamix": _bitsandbytes(),
    "ademamix_8bit": _bitsandbytes(),
    "apollo": OptimizerFacts("apollo-torch", layouts=_DDP, why=_WHOLE, full_only=True),
}
"""Every value of method.optimizer. Layouts: those in which two CPU workers computed what one does, of 8-bit ones up to
the blocks of their states; the others stopped with an error, or computed something else without a word."""
