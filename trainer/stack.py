"""The training stack: imported all at once, so that its time is one figure, and without what a run does not need."""

import gc
import sys
from pathlib import Path

from conf.folder import read_json
from conf.schema.run import RunConfig
from trainer.parallel import ZERO


def bring_in(config: RunConfig, weights: Path) -> None:
    """Import all that a worker uses to train the model in folder `weights`. Call before any of it is imported.

    The collector of garbage pauses meanwhile: it would search the modules' objects, which all stay, over and over. What
    is there in the end it leaves alone for good."""
    gc.disable()
    try:
        _import(config, weights)
        gc.freeze()
    finally:
        gc.enable()


def unneeded(config: RunConfig, optimizer: str, weights: Path) -> list[str]:
    """Packages that others import wherever they are installed, and of which this run makes no use. `optimizer` is the
    package that its optimiser comes from.

    trl imports wandb; peft bitsandbytes, and with it torch's compiler; accelerate boto3, and deepspeed, which imports
    mlflow. The trackers send files to S3 by boto3."""
    adapter, tracked = config.adapter, config.tracking.name
    quantised = adapter.bits is not None or adapter.init == "loftq" or _is_quantised(weights)
    needed = {
        "bitsandbytes": quantised or optimizer == "bitsandbytes",
        "boto3": tracked in ("mlflow", "wandb"),
        "deepspeed": config.parallel.strategy in ZERO,
        "mlflow": tracked == "mlflow",
        "wandb": tracked == "wandb",
    }
    return [name for name, is_needed in needed.items() if not is_needed]


def _import(config: RunConfig, weights: Path) -> None:
    from trainer import optimizers

    package = optimizers.SOURCES[config.method.optimizer].module.partition(".")[0]
    for name in unneeded(config, package, weights):
        # Python's own way to say that a module is not to be had; one that is there already stays.
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]

    import datasets
    import peft

    from trainer import adapters, arguments, model, training, vocabulary
    from trainer.data import prepared, tokenizer

    del datasets, peft, adapters, arguments, model, training, vocabulary, prepared, tokenizer


def _is_quantised(weights: Path) -> bool:
    """Whether the weights come quantised, as their own config says."""
    return "quantization_config" in read_json(weights / "config.json")
