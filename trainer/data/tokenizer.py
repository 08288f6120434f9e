"""The model's tokenizer as this run uses it: fast, with a padding token and the chat template that was asked for."""

from pathlib import Path
from typing import Any

from conf.schema.model import ModelConfig
from trainer.errors import PreparationError
from trainer.store import digest_of

FILES = (
    "added_tokens.json", "chat_template.jinja", "chat_template.json", "config.json", "merges.txt",
    "special_tokens_map.json", "spiece.model", "tokenizer.json", "tokenizer.model", "tokenizer_config.json",
    "vocab.json", "vocab.txt",
)  # fmt: skip
"""Files that decide how text becomes tokens."""


class TokenizerUnusable(PreparationError):
    """A model folder whose tokenizer is missing or cannot tell where its tokens lie in the text."""


def load_tokenizer(folder: str | Path, model: ModelConfig) -> Any:
    """A fast tokenizer of transformers. Padding is the end token where the model names none.

    `model.chat_template` takes the place of the model's own. Raises TokenizerUnusable.
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
    if tokenizer.eos_token_id is None:
        raise TokenizerUnusable(f"the tokenizer in {folder} names no end token (eos_token in tokenizer_config.json)")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if model.chat_template != "tokenizer":
        tokenizer.chat_template = model.chat_template
    return tokenizer


def tokenizer_digest(folder: str | Path) -> str:
    """sha256 of the files that decide how text becomes tokens."""
    home = Path(folder)
    return digest_of(home, [home / name for name in FILES if (home / name).is_file()])
