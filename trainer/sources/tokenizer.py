"""Another tokenizer than the model's own: from a local folder, or from a repository of the hub."""

import os
from pathlib import Path

from conf.schema.model import ModelConfig
from trainer.errors import PreparationError
from trainer.sources.errors import SourceUnavailable
from trainer.sources.files import TEXT
from trainer.sources.hub import fetch_into, notes, probe
from trainer.store import Store


class TokenizerUnavailable(PreparationError):
    """The tokenizer of model.tokenizer is in no folder, and the hub does not give it."""

    exit_code = 5


def tokenizer_folder(model: ModelConfig, model_folder: str, store: Store, offline: bool) -> str:
    """Folder of the run's tokenizer: the model's own, unless model.tokenizer names another. Raises
    TokenizerUnavailable."""
    name = model.tokenizer
    if name is None:
        return model_folder
    folder = Path(name).expanduser()
    if folder.is_dir():
        return str(folder.absolute())
    try:
        return str(_from_hub(name, model, store, offline))
    except SourceUnavailable as error:
        raise TokenizerUnavailable(
            f"model.tokenizer={name} is no folder, and cannot be had from the hub: {error.reason}"
        ) from error


def _from_hub(name: str, model: ModelConfig, store: Store, offline: bool) -> Path:
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
    import huggingface_hub
    from huggingface_hub.constants import HF_HUB_OFFLINE
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    endings = (*TEXT, ".py") if model.trust_remote_code else TEXT
    reason = "it was not asked (offline=true)"
    if not (offline or HF_HUB_OFFLINE):
        try:
            found = probe(name, None)
        except SourceUnavailable as error:
            reason = error.reason
        else:
            names = sorted(file.name for file in found.files if file.name.endswith(endings))
            description = {"source": "hub", "id": name, "commit": found.commit, "tokenizer": names}
            entry = fetch_into(store, "tokenizers", description, name, found, names)
            store.also("tokenizers", tokenizer_pin(name), entry, notes(found))
            return entry.path
    staged = store.find("tokenizers", tokenizer_pin(name))
    if staged is not None:
        return staged.path
    try:
        patterns = [f"*{end}" for end in endings]
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=patterns, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError, ValueError):
        raise SourceUnavailable(f"{reason}, and neither the store nor its cache has it") from None


def tokenizer_pin(name: str) -> dict[str, str]:
    """Description by which a tokenizer of the hub is found when the hub is not asked."""
    return {"source": "hub", "id": name}
