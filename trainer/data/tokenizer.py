"""The model's tokenizer as this run uses it: fast, with the tokens and the chat template that were asked for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conf.schema.model import ModelConfig
from conf.schema.templates import UnknownName, template_text
from trainer.errors import PreparationError
from trainer.store import digest_of

FILES = (
    "added_tokens.json", "chat_template.jinja", "chat_template.json", "config.json", "merges.txt",
    "special_tokens_map.json", "spiece.model", "tokenizer.json", "tokenizer.model", "tokenizer_config.json",
    "vocab.json", "vocab.txt",
)  # fmt: skip
"""Files that decide how text becomes tokens."""
ROLES = ("bos_token", "eos_token", "pad_token", "unk_token")
"""Roles that model.special_tokens gives tokens."""


class TokenizerUnusable(PreparationError):
    """A tokenizer that is missing, lacks what labels need, or does not take what was asked for."""


def load_tokenizer(folder: str | Path, model: ModelConfig) -> Any:
    """A fast tokenizer of transformers, with the tokens of model.special_tokens and model.added_tokens.

    Padding is the end token where the model names none. `model.chat_template` takes the place of the model's own.
    Raises TokenizerUnusable.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(folder), trust_remote_code=model.trust_remote_code, local_files_only=True
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise TokenizerUnusable(f"the tokenizer in {folder} cannot be loaded: {reason}") from error
    if not tokenizer.is_fast:
        raise TokenizerUnusable(f"the tokenizer in {folder} has no fast form (tokenizer.json), which labels need")
    _add_tokens(tokenizer, model)
    if tokenizer.eos_token_id is None:
        raise TokenizerUnusable(
            f"the tokenizer in {folder} names no end token (eos_token in tokenizer_config.json): give one with "
            "model.special_tokens={eos_token: TOKEN}"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    template = own_template(model)
    if template is not None:
        tokenizer.chat_template = template
    return tokenizer


def highest_token(tokenizer: Any) -> int:
    """The highest number that a tokenizer has for a token. Not always their count less one: some leave numbers out."""
    numbers: dict[str, int] = tokenizer.get_vocab()
    return max(numbers.values())


def tokenizer_of(assets: Mapping[str, Any], model_folder: str | Path) -> Path:
    """Folder of the run's tokenizer, from the assets of its manifest: the model's, unless the run has another."""
    return Path(assets.get("model", {}).get("tokenizer") or model_folder)


def own_template(model: ModelConfig) -> str | None:
    """The text of the chat template that model.chat_template puts in place of the tokenizer's; None where it does not.

    Raises TokenizerUnusable for a name that no shipped template has."""
    if model.chat_template == "tokenizer":
        return None
    try:
        return template_text(model.chat_template)
    except UnknownName as error:
        raise TokenizerUnusable(f"model.chat_template={model.chat_template}: {error}") from error


def tokenizer_digest(folder: str | Path) -> str:
    """sha256 of the files that decide how text becomes tokens."""
    home = Path(folder)
    return digest_of(home, [home / name for name in FILES if (home / name).is_file()])


def _add_tokens(tokenizer: Any, model: ModelConfig) -> None:
    from transformers import AddedToken

    unknown = sorted(model.special_tokens.keys() - set(ROLES))
    if unknown:
        raise TokenizerUnusable(f"model.special_tokens has {unknown[0]}: allowed are {', '.join(ROLES)}")
    if model.special_tokens:
        exact = {role: AddedToken(token, normalized=False) for role, token in model.special_tokens.items()}
        tokenizer.add_special_tokens(exact)
        if {"bos_token", "eos_token"} & model.special_tokens.keys() and hasattr(tokenizer, "update_post_processor"):
            # What a tokenizer puts around each text is the start token that it was loaded with.
            tokenizer.update_post_processor()
    if model.added_tokens:
        tokenizer.add_tokens([AddedToken(token, normalized=False) for token in model.added_tokens])
