"""Names of chat templates, old and new, as the shipped ones or the tokenizer's own."""

import os
from functools import cache
from pathlib import Path

from conf.schema.templates import shipped_templates
from launcher.axolotl.models import Weights
from launcher.axolotl.sheet import Sheet

TOKENIZER = "tokenizer"
"""The tokenizer's own template."""
_FALLBACK = "tokenizer_default_fallback_"
_NAMES = {
    "tokenizer_default": TOKENIZER,
    "inst": "llama2",
    "llama2_chat": "llama2",
    "llama-2": "llama2",
    "llama-3": "llama3",
    "llama3_chat": "llama3",
    "phi_3.5": "phi_35",
    "phi3": "phi_3",
    "mistral": "mistral_v1",
    "qwen-7b-chat": "chatml",
    "mpt-7b-chat": "chatml",
    "mpt-30b-chat": "chatml",
    "vicuna_v1.1": "vicuna",
    "vicuna_v1": "vicuna",
    "qwen25": "qwen_25",
    "chatml_glaive": "chatml",
}
"""Other names, FastChat's conversations of old `sharegpt` types among them."""
_OF_FAMILIES = {
    "llama4": "llama-4",
    "gemma3n": "gemma-3n",
    "gemma4": "gemma-4",
    "gemma4_unified": "gemma-4",
    "qwen3_5": "qwen3.5",
    "qwen2_vl": "qwen2",
    "exaone4": "exaone-4",
    "nemotron_h": "nemotron",
    "command_a": "command-a",
    "pixtral": "pixtral",
    "llama3_2_vision": "llama-3.2",
}
"""Templates that are not shipped, and the part of an id that says that the model's own tokenizer carries it."""


@cache
def shipped() -> frozenset[str]:
    """Names of the shipped templates."""
    return frozenset(shipped_templates())


def named(name: str, weights: Weights | None) -> tuple[str | None, str]:
    """The template of a name: what to write into a field, or None; and what there is to say about it."""
    if name.startswith(_FALLBACK):
        if weights is not None and weights.looks_tuned:
            return TOKENIZER, "the tokenizer of this model has a template of its own"
        plain, why = named(name.removeprefix(_FALLBACK), weights)
        return (
            plain,
            why or "base models have no template of their own; if this one has, set model.chat_template=tokenizer",
        )
    found = _NAMES.get(name, name)
    if found == TOKENIZER or found in shipped():
        return found, ""
    if weights is not None and found in _OF_FAMILIES and _OF_FAMILIES[found] in weights.id.lower():
        return TOKENIZER, f"the tokenizer of {weights.id} carries this template itself"
    there = ", ".join(sorted(shipped()))
    return None, f"a chat template {name} is not shipped: give its text in chat_template_jinja, or take one of {there}"


def own(sheet: Sheet, key: str) -> str | None:
    """The text of a template that the recipe gives itself, or names a file of."""
    text = sheet.raw(key)
    if not isinstance(text, str):
        sheet.refuse(key, "a chat template is text, or the path of a file: Axolotl refuses this too")
        return None
    if "{" in text:
        return text
    for folder in (Path.cwd(), sheet.source.folder):
        file = folder / os.path.expanduser(text.strip())
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, ValueError):
            continue
    sheet.refuse(key, f"{text.strip()} is no file here: start the import where it is, or paste the template's text")
    return None
