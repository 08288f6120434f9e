"""From method.optimizer to the optimiser itself: classes of torch, transformers, bitsandbytes and single packages.

transformers' own way to them (`optim`) is not taken: its arguments come as one string, and it hands the betas and
epsilon of AdamW to optimisers with other defaults."""

import importlib
import importlib.util
import inspect
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.distributed.fsdp import FSDPModule

from conf.schema.optimizers import FACTS
from conf.schema.run import RunConfig
from trainer.failure import WorkerError
from trainer.schedules import warmup_steps


@dataclass(frozen=True)
class _Source:
    """Where an optimiser's class lies, and what is always said to it."""

    module: str
    name: str
    always: dict[str, Any] = field(default_factory=dict)
    betas: tuple[float, ...] = (0.9, 0.999)
    """The class's own defaults; what the user does not give is taken from here."""
    matrices: dict[str, Any] = field(default_factory=dict)
    """Keys of the parameter groups of hidden matrices, with the package's defaults; method.optimizer_args changes
    them."""


_LOW_RANK = {"rank": 128, "update_proj_gap": 200, "proj_type": "std"}

SOURCES = {
    "adamw": _Source("torch.optim", "AdamW"),
    "adamw_fused": _Source("torch.optim", "AdamW", {"fused": True}),
    "adamw_8bit": _Source("bitsandbytes.optim", "AdamW", {"optim_bits": 8}),
    "paged_adamw": _Source("bitsandbytes.optim", "AdamW", {"is_paged": True}),
    "paged_adamw_8bit": _Source("bitsandbytes.optim", "AdamW", {"optim_bits": 8, "is_paged": True}),
    "adafactor": _Source("transformers.optimization", "Adafactor", {"scale_parameter": False, "relative_step": False}),
    "lion": _Source("bitsandbytes.optim", "Lion", betas=(0.9, 0.99)),
    "lion_8bit": _Source("bitsandbytes.optim", "Lion", {"optim_bits": 8}, betas=(0.9, 0.99)),
    "paged_lion": _Source("bitsandbytes.optim", "Lion", {"is_paged": True}, betas=(0.9, 0.99)),
    "paged_lion_8bit": _Source("bitsandbytes.optim", "Lion", {"optim_bits": 8, "is_paged": True}, betas=(0.9, 0.99)),
    "galore": _Source(
        "galore_torch", "GaLoreAdamW", {"no_deprecation_warning": True}, matrices=_LOW_RANK | {"scale": 0.25}
    ),
    "schedule_free": _Source("schedulefree", "AdamWScheduleFree"),
    "muon": _Source("trainer.muon", "MuonWithAdamW", matrices={"muon": True}),
    "sgd": _Source("torch.optim", "SGD"),
    "adagrad": _Source("torch.optim", "Adagrad"),
    "rmsprop": _Source("torch.optim", "RMSprop"),
    "stable_adamw": _Source("optimi", "StableAdamW", betas=(0.9, 0.99)),
    "ademamix": _Source("bitsandbytes.optim", "AdEMAMix", betas=(0.9, 0.999, 0.9999)),
    "ademamix_8bit": _Source("bitsandbytes.optim", "AdEMAMix", {"optim_bits": 8}, betas=(0.9, 0.999, 0.9999)),
    "apollo": _Source(
        "apollo_torch",
        "APOLLOAdamW",
        matrices=_LOW_RANK | {"scale": 1.0, "proj": "random", "scale_type": "channel"},
    ),
}
"""Every value of method.optimizer. APOLLO: Zhu et al. 2024, arXiv:2412.05270; GaLore: Zhao et al. 2024,
arXiv:2403.03507, with the ranks and scales of their packages."""
PROJECTORS = {
    "galore": ("galore_torch.galore_projector", "GaLoreProjector"),
    "apollo": ("apollo_torch.random_projector", "GradientProjector"),
}
"""Classes that lie in the state of an optimiser, and hence in its checkpoints."""

_SAID_ELSEWHERE = {"params", "lr", "betas", "eps", "weight_decay", "muon", "args", "optim_bits", "is_paged", "defaults"}
"""What has a field of its own, or is none of the user's business."""


def check(config: RunConfig) -> None:
    """Raise WorkerError where the optimiser cannot run: its package is missing, or the layout is not one of its own."""
    name, strategy = config.method.optimizer, config.parallel.strategy
    facts, source = FACTS[name], SOURCES[name]
    if facts.package is not None and importlib.util.find_spec(source.module.partition(".")[0]) is None:
        raise WorkerError(
            f"method.optimizer={name} needs the package {facts.package}, which is not installed: "
            f"pip install {facts.package}"
        )
    if strategy not in facts.layouts:
        raise WorkerError(
            f"method.optimizer={name} cannot run with parallel={strategy}: {facts.why}. "
            f"Use parallel={' or '.join(sorted(facts.layouts))}, or method.optimizer=adamw"
        )


def arguments(config: RunConfig, steps: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments of the optimiser's class, and keys of the parameter groups that hold hidden matrices."""
    method = config.method
    source, facts = SOURCES[method.optimizer], FACTS[method.optimizer]
    given, own = dict(method.optimizer_args), dict(source.always)
    matrices = {name: given.pop(name, value) for name, value in source.matrices.items()}
    if facts.beta1 and facts.beta2:
        own["betas"] = tuple(
            given.pop(name, default) if said is None else said
            for name, said, default in zip(
                ("beta1", "beta2", "beta3"), (method.beta1, method.beta2, None), source.betas, strict=False
            )
        )
    elif facts.beta1 and method.beta1 is not None:
        own["beta1"] = method.beta1
    if facts.epsilon and method.epsilon is not None:
        own["eps"] = method.epsilon
    if method.optimizer == "schedule_free":
        own["warmup_steps"] = warmup_steps(method, steps)
    if method.optimizer == "muon":
        return {"adamw": own, "muon": given}, matrices
    return own | given, matrices


def build(config: RunConfig, model: Any, groups: list[dict[str, Any]], steps: int) -> Any:
    """The optimiser (a torch Optimizer) over parameter groups, for a run of `steps`.

    Each group has `params` and `weight_decay`, and `lr` where it is not method.learning_rate. Raises WorkerError where
    method.optimizer_args names what the optimiser does not know. Call `check` before."""
    name, source = config.method.optimizer, SOURCES[config.method.optimizer]
    kind = getattr(importlib.import_module(source.module), source.name)
    said, matrices = arguments(config, steps)
    _check_arguments(config, kind, matrices)
    if name in PROJECTORS:
        module, projector = PROJECTORS[name]
        # Trainer loads checkpoints without running any code of theirs but what is named here.
        torch.serialization.add_safe_globals([getattr(importlib.import_module(module), projector)])
    if matrices:
        groups = _split(groups, hidden_matrices(model), matrices)
    optimizer = kind([group for group in groups if group["params"]], lr=config.method.learning_rate, **said)
    if name == "schedule_free":
        # torch's sharded checkpoints step once before they load; its train() would make states of whole parameters.
        for group in optimizer.param_groups:
            group["train_mode"] = True
    if said.get("optim_bits") == 8:
        _keep_embeddings_exact(model)
    return optimizer


def hidden_matrices(model: Any) -> set[int]:
    """id() of every trained matrix that is neither an embedding nor the output layer."""
    outer = [module for module in model.modules() if isinstance(module, torch.nn.Embedding)]
    output = model.get_output_embeddings()
    apart = {
        id(value) for module in [*outer, *([output] if output is not None else [])] for value in module.parameters()
    }
    return {
        id(value) for value in model.parameters() if value.requires_grad and value.ndim == 2 and id(value) not in apart
    }


def plain_groups(model: Any, decayed: Iterable[str], weight_decay: float) -> list[dict[str, Any]]:
    """Trained parameters in two groups: those of `decayed` names, which shrink by `weight_decay`, and all others."""
    names = set(decayed)
    trained = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    return [
        {"params": [value for name, value in trained if name in names], "weight_decay": weight_decay},
        {"params": [value for name, value in trained if name not in names], "weight_decay": 0.0},
    ]


@contextmanager
def averaged(optimizer: Any, model: Any) -> Iterator[None]:
    """While it lasts, weights are those that the optimiser would hand out: for schedule_free the average of its steps.

    Its own way there and back rounds; here weights come back bit for bit, so that a run does not depend on when it was
    evaluated. Other optimisers have but one set of weights."""
    inner = getattr(optimizer, "optimizer", optimizer)
    modes = [group.get("train_mode") for group in inner.param_groups]
    if not any(modes):
        yield
        return
    values = [value for group in inner.param_groups for value in group["params"]]
    kept = [value.detach().clone() for value in values]
    inner.eval()
    try:
        yield
    finally:
        with torch.no_grad():
            for value, copy in zip(values, kept, strict=True):
                value.copy_(copy)
        for group, mode in zip(inner.param_groups, modes, strict=True):
            group["train_mode"] = mode
        _forget_gathered(model)


def _forget_gathered(model: Any) -> None:
    """fsdp2 keeps the outermost parameters gathered between two forward passes; then they are not the present ones."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def _split(groups: list[dict[str, Any]], chosen: set[int], keys: dict[str, Any]) -> list[dict[str, Any]]:
    """Each group as two: its chosen parameters, marked with `keys`, then the others."""
    others = {"muon": False} if "muon" in keys else {}
    found = []
    for group in groups:
        mine = [value for value in group["params"] if id(value) in chosen]
        rest = [value for value in group["params"] if id(value) not in chosen]
        found += [group | keys | {"params": mine}, group | others | {"params": rest}]
    return found


def _check_arguments(config: RunConfig, kind: Any, matrices: dict[str, Any]) -> None:
    name = config.method.optimizer
    taker = torch.optim.Muon if name == "muon" else kind
    mine = {"beta3"} if len(SOURCES[name].betas) == 3 else set()
    known = (inspect.signature(taker).parameters.keys() | matrices.keys() | mine) - _SAID_ELSEWHERE
    unknown = sorted(config.method.optimizer_args.keys() - known)
    if unknown:
        raise WorkerError(
            f"method.optimizer_args: {name} does not know {', '.join(unknown)}; it takes {', '.join(sorted(known))}"
        )


def _keep_embeddings_exact(model: Any) -> None:
    """Embeddings are not stable under 8-bit states (Dettmers et al. 2021, arXiv:2110.02861, section 2.3)."""
    from bitsandbytes.optim import GlobalOptimManager

    manager = GlobalOptimManager.get_instance()
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            manager.register_module_override(module, "weight", {"optim_bits": 32})
