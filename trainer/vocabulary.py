"""Room in a model's embeddings for every token of its tokenizer."""

from pathlib import Path
from typing import Any


def grow(model: Any, tokens: int) -> None:
    """Give the embedding, and an output layer of its own, a row for each of `tokens` tokens.

    Each new row is the mean of the old ones, so that a new token is as likely as any at first (Hewitt 2021,
    "Initializing New Word Embeddings for Pretrained Language Models"), and the same in every attempt. Embeddings with
    rows to spare stay as they are."""
    import torch
    from peft.utils.integrations import gather_params_ctx

    with gather_params_ctx(model.get_input_embeddings().weight, modifier_rank=None):
        rows = len(model.get_input_embeddings().weight)
    if tokens <= rows:
        return
    model.resize_token_embeddings(tokens, mean_resizing=False)
    layers = [model.get_input_embeddings()]
    if not model.config.get_text_config().tie_word_embeddings:
        layers.append(model.get_output_embeddings())
    values = [value for layer in layers for value in layer.parameters()]
    with torch.no_grad(), gather_params_ctx(values):
        for value in values:
            if len(value) == tokens:
                value[rows:] = value[:rows].float().mean(dim=0).to(value.dtype)


def drop_copies(folder: Path) -> None:
    """Take out of a saved adapter what PEFT saves of a grown embedding that is trained, beside its trained values: the
    values from before, and the trained ones once more under a name that nothing reads."""
    from safetensors.torch import load_file, save_file

    file = folder / "adapter_model.safetensors"
    if not file.is_file():
        return
    tensors = load_file(file)
    kept = {
        name: value
        for name, value in tensors.items()
        if ".original_module." not in name and ".modules_to_save." not in name
    }
    if len(kept) < len(tensors):
        save_file(kept, file, metadata={"format": "pt"})
