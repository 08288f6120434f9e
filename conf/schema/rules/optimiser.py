"""Rules of optimisers: against the layout, the adapter, the device, and options that some of them do not have."""

from collections.abc import Iterator

from conf.schema.derive import suggested_learning_rate
from conf.schema.optimizers import FACTS
from conf.schema.rules.reading import DEEPSPEED, is_set, spelled, value_at
from conf.schema.rules.registry import Finding, rule
from conf.schema.run import RunConfig


@rule(
    "optimizer-fsdp2",
    reads=("method.optimizer", "parallel.strategy"),
    reason="FSDP2 hands optimisers sharded tensors, which kernels of other makers do not know",
    fix="use an optimiser of torch, as adamw, or parallel=zero2 or ddp",
    fails="RuntimeError: got mixed torch.Tensor and DTensor, or NotImplementedError: Operator bitsandbytes."
    "optimizer_update_32bit does not have a sharding strategy registered, at the first step",
)
def optimizer_fsdp2(config: RunConfig) -> Iterator[Finding]:
    if config.parallel.strategy == "fsdp2":
        yield from _layout(config)


@rule(
    "optimizer-zero",
    reads=("method.optimizer", "parallel.strategy"),
    reason="DeepSpeed hands optimisers flat pieces of fp32 copies",
    fix="use adamw, or parallel=ddp or fsdp2",
    fails="Muon raises ValueError: Param gradient must be a 2D matrix, GaLore and APOLLO IndexError: tuple index out "
    "of range; schedule_free would average copies that the model never sees",
)
def optimizer_zero(config: RunConfig) -> Iterator[Finding]:
    if config.parallel.strategy in DEEPSPEED:
        yield from _layout(config)


def _layout(config: RunConfig) -> Iterator[Finding]:
    name, strategy = config.method.optimizer, config.parallel.strategy
    facts = FACTS[name]
    if strategy not in facts.layouts:
        others = " or ".join(f"parallel={layout}" for layout in sorted(facts.layouts))
        yield (
            "method.optimizer",
            f"method.optimizer={name} cannot run with parallel={strategy}, since {facts.why}: use {others}, or "
            "method.optimizer=adamw",
        )


@rule(
    "optimizer-low-rank",
    reads=("method.optimizer", "adapter.kind"),
    reason="an adapter's matrices are of low rank already",
    fix="use adamw with an adapter, or adapter=full with galore and apollo",
    warning=True,
)
def optimizer_low_rank(config: RunConfig) -> Iterator[Finding]:
    name = config.method.optimizer
    if FACTS[name].full_only and config.adapter.is_peft:
        yield (
            "method.optimizer",
            f"method.optimizer={name} saves memory on full matrices, and adapter.kind={config.adapter.kind} trains "
            "small ones: use method.optimizer=adamw, or adapter=full",
        )


@rule(
    "optimizer-paged",
    reads=("method.optimizer", "gpu.device"),
    reason="a CPU has no other memory to move states to",
    fix="use the optimiser of the same name without paged_ on a CPU",
    warning=True,
)
def optimizer_paged(config: RunConfig) -> Iterator[Finding]:
    name = config.method.optimizer
    if name.startswith("paged_") and config.gpu.device == "cpu":
        yield (
            "method.optimizer",
            f"method.optimizer={name} moves nothing on a CPU: use method.optimizer={name.removeprefix('paged_')}",
        )


_OWN_RATES = {
    "lion": 0.2, "lion_8bit": 0.2, "paged_lion": 0.2, "paged_lion_8bit": 0.2, "sgd": 100.0, "adagrad": 10.0,
}  # fmt: skip
"""Optimisers whose steps are of another size than AdamW's, and about how many times its learning rate they take.
Lion: 3 to 10 times less (Chen et al. 2023, arXiv:2302.06675, section 5)."""


@rule(
    "optimizer-rate",
    reads=("method.optimizer", "method.learning_rate", "adapter.learning_rate", "model.architecture"),
    reason="the learning rate that is derived is one for AdamW",
    fix="give method.learning_rate with optimisers whose steps have another size",
    warning=True,
)
def optimizer_rate(config: RunConfig) -> Iterator[Finding]:
    name, rate = config.method.optimizer, config.method.learning_rate
    if name in _OWN_RATES and rate is not None and rate == suggested_learning_rate(config):
        yield (
            "method.learning_rate",
            f"the learning rate {rate:g} is derived for AdamW, and steps of {name} have another size: give one, as "
            f"method.learning_rate={rate * _OWN_RATES[name]:.1e}",
        )


_OPTIONS = {"method.beta1": "beta1", "method.beta2": "beta2", "method.epsilon": "epsilon"}


@rule(
    "optimizer-unused",
    reads=("method.optimizer", *_OPTIONS),
    reason="each optimiser has options of its own",
    fix="leave the option out",
    warning=True,
)
def optimizer_unused(config: RunConfig) -> Iterator[Finding]:
    facts = FACTS[config.method.optimizer]
    for path, name in _OPTIONS.items():
        if is_set(config, path) and not getattr(facts, name):
            yield (
                path,
                f"{spelled(path, value_at(config, path))} has no effect with "
                f"method.optimizer={config.method.optimizer}: leave it out",
            )


@rule(
    "embedding-rate",
    reads=("method.embedding_learning_rate", "adapter.kind", "adapter.modules_to_save", "adapter.targets",
           "adapter.unfrozen", "adapter.last_layers"),
    reason="an adapter leaves embeddings as they are",
    fix="add adapter.modules_to_save=[embed_tokens,lm_head], or leave it out",
    warning=True,
)  # fmt: skip
def embedding_rate(config: RunConfig) -> Iterator[Finding]:
    adapter, rate = config.adapter, config.method.embedding_learning_rate
    named = {name.rpartition(".")[2] for name in (*adapter.modules_to_save, *(adapter.targets or []))}
    if rate is not None and adapter.is_peft and not named & {"embed_tokens", "lm_head"}:
        yield (
            "method.embedding_learning_rate",
            f"method.embedding_learning_rate={rate:g} has no effect, since adapter.kind={adapter.kind} trains no "
            "embedding: add adapter.modules_to_save=[embed_tokens,lm_head], or leave it out",
        )


@rule(
    "neftune-packing",
    reads=("method.neftune_alpha", "data.packing"),
    reason="NEFTune's noise is divided by the root of the sequence's length, which packing makes that of many rows",
    fix="train without packing, or with a larger alpha",
    warning=True,
)
def neftune_packing(config: RunConfig) -> Iterator[Finding]:
    alpha = config.method.neftune_alpha
    if alpha is not None and config.data.packing:
        yield (
            "method.neftune_alpha",
            f"method.neftune_alpha={alpha:g} makes less noise with data.packing=true, whose sequences are all about "
            f"{config.data.max_length} tokens long: use data.packing=false, or a larger alpha",
        )
