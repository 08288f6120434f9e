"""From a GGUF file to a Transformers folder: weights as float32 safetensors, tokenizer, chat template."""

import logging
from pathlib import Path
from typing import Any

from trainer.sources.errors import SourceUnavailable

log = logging.getLogger(__name__)
SPLIT_BY_DIGIT = ("smollm",)
"""Values of `tokenizer.ggml.pre` whose words are cut at every digit before the byte-level split."""
SPLIT_AS_GPT2 = ("", "default", "gpt-2", "gpt2")
"""Values of `tokenizer.ggml.pre` that mean the byte-level split alone, which transformers falls back to."""


def convert(gguf: Path, folder: Path) -> None:
    """Read a GGUF file with transformers and write it as a model folder. About 30 s for 135M parameters.

    Weights are written in float32, in which the blocks' values are exact. Raises SourceUnavailable where
    transformers cannot read the file.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    log.info("converting %s to safetensors (once)", gguf.name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    except (ValueError, KeyError, NotImplementedError, ImportError) as error:
        raise SourceUnavailable(f"transformers cannot read its GGUF file ({type(error).__name__}: {error})") from error
    _unmark(model)
    _mend(tokenizer, gguf, model.config.max_position_embeddings)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _unmark(model: Any) -> None:
    """Drop what says "this is quantised": the weights no longer are, and save_pretrained refuses what is."""
    model.hf_quantizer = None
    for mark in ("quantization_config", "_model_name_or_path"):
        if hasattr(model.config, mark):
            delattr(model.config, mark)


def _mend(tokenizer: Any, gguf: Path, context: int) -> None:
    """Put right what transformers 5.23 does not take over from a GGUF file: the digit split and the context length."""
    from gguf import GGUFReader
    from tokenizers import pre_tokenizers

    field = GGUFReader(gguf).get_field("tokenizer.ggml.pre")
    split = "" if field is None else str(field.contents())
    backend = tokenizer.backend_tokenizer
    if split in SPLIT_BY_DIGIT:
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    elif split not in SPLIT_AS_GPT2 and isinstance(backend.pre_tokenizer, pre_tokenizers.ByteLevel):
        log.warning("transformers does not know how this file splits words (%s): tokens may differ", split)
    tokenizer.model_max_length = context
    for note in ("is_local", "local_files_only"):
        tokenizer.init_kwargs.pop(note, None)
