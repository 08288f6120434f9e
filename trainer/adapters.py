"""What of a model is trained: PEFT's adapters, some of the weights, or all."""

import math
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conf.schema.run import RunConfig
from conf.schema.sizes import ALL_LINEAR, FEEDFORWARD, ia3_targets
from conf.schema.trainable import initial_rank
from trainer import vocabulary
from trainer.adalora import Ranks, phases
from trainer.failure import WorkerError
from trainer.first_values import PISSA, Origin, make_up_for_quantisation

ZERO = ("zero1", "zero2", "zero3")
"""Layouts under which DeepSpeed keeps fp32 copies of trained weights itself."""
FIRST_VALUES = {"default": True, "gaussian": "gaussian", "orthogonal": "orthogonal", "pissa": PISSA, "olora": "olora"}
"""adapter.init in PEFT's words; loftq begins as the default, and is made from it here, since PEFT's needs a GPU."""


@dataclass
class Tuned:
    """A model with what is trained in it, and what that needs at steps and checkpoints."""

    model: Any
    ranks: Ranks | None = None
    """AdaLoRA's allocator."""
    origin: Origin | None = None
    """First values of an adapter that has changed the frozen weights, and shall fit the original ones."""

    def step_done(self, step: int) -> None:
        """After the optimizer's step number `step` (from 0), before gradients are cleared. On every rank."""
        if self.ranks is not None:
            self.ranks.step_done(step)

    def penalty(self) -> Any:
        """What is added to the loss of a step: a scalar tensor, or 0."""
        return 0.0 if self.ranks is None else self.ranks.penalty()

    def for_checkpoint(self) -> AbstractContextManager[None]:
        """Weights saved under it can be trained on."""
        return nullcontext() if self.ranks is None else self.ranks.at_full_rank()

    def save(self, folder: Path) -> None:
        """Add to a checkpoint what its weights do not tell. One rank calls this."""
        if self.ranks is not None:
            self.ranks.save(folder)

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint, whose weights are loaded. On every rank."""
        if self.ranks is not None:
            self.ranks.load(folder)

    def finish(self, folder: Path) -> None:
        """Make the saved artefact one that fits the original weights, and no larger than it must be. One rank calls
        this."""
        if self.origin is not None:
            self.origin.subtract(folder)
        vocabulary.drop_copies(folder)

    def trained(self) -> dict[str, Any]:
        """Copies of all trained values, by name."""
        return {name: value.detach().clone() for name, value in self.model.named_parameters() if value.requires_grad}

    def restore(self, kept: dict[str, Any]) -> None:
        """Give trained parameters these values again, in their format."""
        for name, value in self.model.named_parameters():
            if name in kept:
                value.data = kept[name]


def attach(model: Any, config: RunConfig, steps: int, weights: Path) -> Tuned:
    """Prepare a loaded model (transformers) for a run of so many optimizer steps; `weights` is the folder it came from.

    The same seed gives the same values, on every rank and in every attempt. Raises WorkerError."""
    kind = config.adapter.kind
    if kind == "full":
        return Tuned(model)
    if kind == "freeze":
        freeze(model, config)
        return Tuned(model)
    from peft import get_peft_model
    from transformers import set_seed

    if config.adapter.init in ("pissa", "olora") and config.adapter.bits is not None:
        raise WorkerError(
            f"adapter.init={config.adapter.init} takes its first values out of the weights, and what is left of them "
            "would be quantised anew: use adapter.init=loftq, or adapter.bits=null"
        )
    set_seed(config.seed)
    # ZeRO-3 takes one dtype alone for whole weights, and has fp32 copies of its own (deepspeedai/DeepSpeed#8072).
    upcast = config.parallel.strategy != "zero3" or config.adapter.bits is not None
    tuned = get_peft_model(model, peft_config(config, model, steps), autocast_adapter_dtype=upcast)
    _check_layers(tuned, config)
    _check_output(tuned, config)
    if kind == "adalora":
        return Tuned(tuned, ranks=Ranks(tuned))
    if config.adapter.init == "loftq":
        make_up_for_quantisation(tuned, config, weights)
    if config.adapter.init in ("pissa", "olora"):
        return Tuned(tuned, origin=Origin(tuned))
    return Tuned(tuned)


def peft_config(config: RunConfig, model: Any, steps: int) -> Any:
    """PEFT's LoraConfig, AdaLoraConfig, VeraConfig or IA3Config of a run of so many optimizer steps.

    Names of layers are looked up in `model` where PEFT cannot do it. Raises WorkerError where they cannot be known."""
    from peft import AdaLoraConfig, IA3Config, LoraConfig, VeraConfig

    adapter = config.adapter
    if adapter.kind == "ia3":
        names = _targets(config, model, by_layer=True)
        inward = [] if isinstance(names, str) else [name for name in names if name.rpartition(".")[2] in FEEDFORWARD]
        if isinstance(names, str):
            inward = sorted(FEEDFORWARD)
        return IA3Config(
            task_type="CAUSAL_LM",
            target_modules=names,
            feedforward_modules=inward,
            modules_to_save=adapter.modules_to_save or None,
        )
    shared: dict[str, Any] = {
        "task_type": "CAUSAL_LM",
        "target_modules": _targets(config, model, by_layer=False),
        "layers_to_transform": adapter.layers,
        "modules_to_save": adapter.modules_to_save or None,
    }
    if adapter.kind == "vera":
        return VeraConfig(r=adapter.r, vera_dropout=adapter.dropout, projection_prng_key=config.seed, **shared)
    shared["lora_alpha"] = int(adapter.alpha) if adapter.alpha == int(adapter.alpha) else adapter.alpha
    shared["lora_dropout"] = adapter.dropout
    if adapter.kind == "adalora":
        return AdaLoraConfig(init_r=initial_rank(adapter), target_r=adapter.r, **phases(steps), **shared)
    return LoraConfig(
        r=adapter.r,
        use_dora=adapter.dora,
        use_rslora=adapter.rslora,
        init_lora_weights=FIRST_VALUES.get(adapter.init, True),
        target_parameters=_parameters(config) or None,
        **shared,
    )


def _targets(config: RunConfig, model: Any, by_layer: bool) -> list[str] | str:
    """Names of the layers that get an adapter. `by_layer`: whole names where adapter.layers is given, since PEFT's
    config of this kind has no word for layers."""
    adapter = config.adapter
    targets = adapter.targets
    if targets is None and adapter.kind == "ia3":
        try:
            targets = ia3_targets(model.config.model_type)
        except KeyError:
            raise WorkerError(
                f"which layers of a {model.config.model_type} model kind=ia3 scales is not known: say adapter.targets, "
                "as [k_proj,v_proj,down_proj]"
            ) from None
    targets = targets or [ALL_LINEAR]
    if ALL_LINEAR in targets and len(targets) == 1 and adapter.layers is None:
        return ALL_LINEAR
    if ALL_LINEAR in targets:
        leaves = {name.rpartition(".")[2] for name in _linear_layers(model)}
        targets = sorted(leaves | (set(targets) - {ALL_LINEAR}))
    if adapter.layers is None or not by_layer:
        return targets
    inside = re.compile(r".*\.layers\.(\d+)\..*")
    return [
        name
        for name, _ in model.named_modules()
        if any(name.endswith(f".{target}") for target in targets)
        and (found := inside.match(name))
        and int(found[1]) in adapter.layers
    ]


def _linear_layers(model: Any) -> Iterator[str]:
    """Names of all linear layers but the output, as PEFT's all-linear takes them."""
    import torch

    output = model.get_output_embeddings()
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and module is not output:
            yield name


def _parameters(config: RunConfig) -> list[str]:
    """PEFT heeds layers_to_transform for modules alone; bare parameters are named layer by layer."""
    adapter = config.adapter
    if adapter.layers is None:
        return adapter.target_parameters
    return [f"layers.{number}.{name}" for number in adapter.layers for name in adapter.target_parameters]


def _check_layers(tuned: Any, config: RunConfig) -> None:
    """PEFT adapts stacked experts in all layers, whatever was asked for."""
    if config.adapter.layers is None:
        return
    for name, value in tuned.named_parameters():
        found = re.search(r"\.layers\.(\d+)\.", name)
        if value.requires_grad and found and int(found[1]) not in config.adapter.layers:
            raise WorkerError(
                f"adapter.layers={config.adapter.layers} cannot be kept to, since PEFT adapts {name} in every layer: "
                "take the experts out of adapter.targets and name them in adapter.target_parameters"
            )


def _check_output(tuned: Any, config: RunConfig) -> None:
    """TRL multiplies by the output layer's weight past FSDP's wrapper around it, which then adds its gradients up over
    the workers in place of averaging them (seen with TRL 1.16 and accelerate 1.15)."""
    if config.parallel.strategy != "fsdp2" or config.world_size == 1:
        return
    if any(value.requires_grad for value in tuned.get_output_embeddings().parameters()):
        raise WorkerError(
            f"adapter.modules_to_save={config.adapter.modules_to_save}: the output layer beside an adapter learns with "
            "wrong gradients under parallel=fsdp2: use parallel=zero3 or ddp, or take it out"
        )


def freeze(model: Any, config: RunConfig) -> None:
    """Train adapter.last_layers decoder layers with the final norm and the output layer, and what adapter.unfrozen
    matches; nothing else. Trained weights are kept in float32 but where precision.weights or the layout says otherwise.

    An output layer that is the embedding stays as it is: training it would change the first layer's input. Raises
    WorkerError for a pattern without a match."""
    import torch

    trained = {id(value) for value in _last_layers(model, config.adapter.last_layers)}
    for pattern in config.adapter.unfrozen:
        matched = [value for name, value in model.named_parameters() if re.match(pattern, name)]
        if not matched:
            known = ", ".join(name for name, _ in list(model.named_parameters())[:3])
            raise WorkerError(f"adapter.unfrozen: {pattern!r} matches no parameter; their names are as {known}")
        trained |= {id(value) for value in matched}
    upcast = config.precision.weights != "bf16" and config.parallel.strategy not in ZERO
    for value in model.parameters():
        value.requires_grad_(id(value) in trained)
        if value.requires_grad and upcast and value.dtype != torch.float32:
            value.data = value.data.float()


def _last_layers(model: Any, count: int | None) -> Iterator[Any]:
    if count is None:
        return
    decoder = model.get_decoder()
    for layer in decoder.layers[-count:]:
        yield from layer.parameters()
    for child in decoder.children():
        if child is not decoder.layers and child is not model.get_input_embeddings():
            yield from child.parameters()
    if not model.config.get_text_config().tie_word_embeddings:
        yield from model.get_output_embeddings().parameters()


def parameter_groups(model: Any, config: RunConfig) -> list[dict[str, Any]] | None:
    """The optimiser's groups, each with `params`, `lr` and `weight_decay`; None where one rate does for all.

    LoRA+ gives matrices B (and DoRA's magnitudes, as PEFT does) a higher rate (arXiv:2402.12354); embeddings have
    method.embedding_learning_rate. Biases and norms do not decay. The first group has method.learning_rate where
    any parameter has."""
    from transformers.trainer_pt_utils import get_parameter_names

    ratio, embeddings = config.adapter.loraplus_ratio, config.method.embedding_learning_rate
    if ratio is None and embeddings is None:
        return None
    import torch

    rate = config.method.learning_rate
    assert rate is not None
    # The patterns of transformers' Trainer.
    plain = [r"bias", r"layernorm", r"rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)"]
    decays = set(get_parameter_names(model, [torch.nn.LayerNorm], plain))
    outer = {
        id(value)
        for layer in (model.get_input_embeddings(), model.get_output_embeddings())
        if layer is not None
        for value in layer.parameters()
    }
    groups: dict[tuple[float, float], list[Any]] = {}
    for name, value in model.named_parameters():
        if not value.requires_grad:
            continue
        mine = rate
        if embeddings is not None and id(value) in outer:
            mine = embeddings
        elif ratio is not None and (".lora_B." in name or ".lora_embedding_B." in name or value.ndim == 1):
            mine = rate * ratio
        decay = config.adapter.weight_decay if name in decays else 0.0
        groups.setdefault((mine, decay), []).append(value)
    ordered = sorted(groups.items(), key=lambda item: not math.isclose(item[0][0], rate))
    return [{"params": params, "lr": mine, "weight_decay": decay} for (mine, decay), params in ordered]
