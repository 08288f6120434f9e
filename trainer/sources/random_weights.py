"""model.random_weights: a model of the published architecture whose weights are random, as a folder of the store.

It is made once, before any device is held, from the run's seed: so that every rank, layout and attempt begins with the
same numbers, and the way they are loaded is that of any other weights."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

from conf.schema.model import ModelConfig
from trainer.data.tokenizer import FILES, tokenizer_digest
from trainer.errors import PreparationError
from trainer.sources.resolve import ModelAsset
from trainer.store import Store

log = logging.getLogger(__name__)


class NoSuchClass(PreparationError):
    """A config that transformers makes no causal language model of."""


def with_random_weights(asset: ModelAsset, model: ModelConfig, seed: int, store: Store) -> ModelAsset:
    """The asset with a folder of random weights in place of its own; config and tokenizer stay.

    They are drawn as transformers begins a model of that class, on the CPU, and written in float32: 4 bytes of memory
    and of the store for each parameter. Raises NoSuchClass.
    """
    made_from = {"source": "random", "of": tokenizer_digest(asset.path), "seed": seed}
    entry = store.make("models", made_from, lambda folder: _build(Path(asset.path), model, seed, folder))
    return replace(asset, digest=entry.digest, path=str(entry.path))


def _build(published: Path, model: ModelConfig, seed: int, folder: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    log.info("drawing random weights in place of those of %s (once)", model.id)
    remote = model.trust_remote_code
    try:
        config = AutoConfig.from_pretrained(str(published), trust_remote_code=remote, local_files_only=True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            drawn = AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=remote)
    except (ValueError, KeyError, ImportError) as error:
        raise NoSuchClass(
            f"model.random_weights=true: no model can be made of {published}/config.json: {error}"
        ) from error
    drawn.save_pretrained(folder)
    code = [path.name for path in published.glob("*.py")] if remote else []
    for name in (*FILES, "generation_config.json", *code):
        if name != "config.json" and (published / name).is_file():
            shutil.copy(published / name, folder / name)
