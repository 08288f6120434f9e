"""A tiny real Llama with a real tokenizer, and a file of chat rows: what training tests run on."""

import json
import random
from pathlib import Path
from typing import Any

VOCABULARY = 512
"""Tokens of the tiny tokenizer, special ones included."""
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<pad>"]
_TEXT = (
    "the a list of names is read from this file and each line holds one value return none when there are no more "
    "values raise an error if the key was not found sort copy append remove count index string number open close "
    "write text module function class method object user assistant system what does do tell me about please"
)
_WORDS = _TEXT.split()


def tiny_llama(folder: Path, seed: int = 0) -> Path:
    """Write a 2-layer Llama with random weights (safetensors) and its fast tokenizer into `folder`; return it.

    The same seed gives the same bytes. Takes under a second once transformers is imported.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _tokenizer()
    config = LlamaConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=VOCABULARY,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.convert_tokens_to_ids("<|endoftext|>"),
        eos_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"),
        pad_token_id=tokenizer.convert_tokens_to_ids("<pad>"),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_rows(path: Path, n: int, seed: int = 0) -> Path:
    """Write `n` chat rows (jsonl, one or two turns each) to `path`; return it. The same seed gives the same bytes."""
    dice = random.Random(seed)
    lines = []
    for _ in range(n):
        messages = []
        for _ in range(dice.choice((1, 1, 2))):
            messages.append({"role": "user", "content": " ".join(dice.choices(_WORDS, k=dice.randint(3, 10)))})
            messages.append({"role": "assistant", "content": " ".join(dice.choices(_WORDS, k=dice.randint(3, 20)))})
        lines.append(json.dumps({"messages": messages}))
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    dice = random.Random(0)
    text = [" ".join(dice.choices(_WORDS, k=30)) for _ in range(300)]
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.train_from_iterator(
        text,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=SPECIAL,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token="<|endoftext|>",
        eos_token="<|im_end|>",
        pad_token="<pad>",
        additional_special_tokens=["<|im_start|>"],
        model_max_length=512,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
