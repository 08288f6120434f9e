"""Another tokenizer than the model's own: from a local folder, or from a repository of the hub."""

import os
from pathlib import Path

from conf.schema.model import ModelConfig
from trainer.errors import PreparationError
from trainer.sources.errors import SourceUnavailable
from trainer.sources.files import TEXT
from trainer.sources.hub import probe, token
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

    patterns = [f"*{end}" for end in TEXT] + (["*.py"] if model.trust_remote_code else [])
    reason = "it was not asked (offline=true)"
    if not (offline or HF_HUB_OFFLINE):
        try:
            commit, _ = probe(name, None)
        except SourceUnavailable as error:
            reason = error.reason
        else:
            description = {"source": "hub", "id": name, "commit": commit, "tokenizer": patterns}

            def build(folder: Path) -> None:
                try:
                    huggingface_hub.snapshot_download(
                        name, revision=commit, local_dir=folder, allow_patterns=patterns, token=token(), max_workers=4
                    )
                except Exception as error:
                    raise SourceUnavailable(f"the download broke off ({type(error).__name__}: {error})") from error

            entry = store.make("tokenizers", description, build)
            store.also("tokenizers", {"source": "hub", "id": name}, entry)
            return entry.path
    found = store.find("tokenizers", {"source": "hub", "id": name})
    if found is not None:
        return found.path
    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=patterns, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError, ValueError):
        raise SourceUnavailable(f"{reason}, and neither the store nor its cache has it") from None
