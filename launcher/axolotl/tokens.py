"""Keys of the tokenizer: its special and added tokens, and the chat template."""

import re

from launcher.axolotl import templates
from launcher.axolotl.conversations import is_chat
from launcher.axolotl.models import Weights
from launcher.axolotl.sheet import Sheet, is_off, shown

_CLASS = "the tokenizer's class follows from its own files"
SAME = {
    "tokenizer_type": _CLASS,
    "tokenizer_use_fast": "the fast tokenizer is taken; it gives the same tokens",
    "tokenizer_legacy": "the tokenizer's own files say how it cuts the first word",
    "tokenizer_save_jinja_files": "the template is saved with the tokenizer",
    "tokenizer_use_mistral_common": "the tokenizer and its template are loaded from the model's own files",
    "resize_token_embeddings_to_32x": "rows that no token uses are not trained",
    "mean_resizing_embeddings": "new rows start from the mean of the old ones",
    "shrink_embeddings": "rows that no token uses are kept, and not trained",
    "embeddings_skip_upcast": "memory alone",
    "eot_tokens": "the tokens that end a turn are found in the template itself",
}
_ROLES = ("bos_token", "eos_token", "pad_token", "unk_token")


def take(sheet: Sheet, weights: Weights | None) -> None:
    """Take the keys of the tokenizer."""
    for key, why in SAME.items():
        sheet.same(key, why)
    special: dict[str, str] = {}
    added: list[str] = []
    for place in [*sheet.within("special_tokens"), *sheet.within("tokens")]:
        name = place.rpartition(".")[2]
        if name == "additional_special_tokens":
            words = sheet.words(place)
            if words:
                added += [word for word in words if word not in added]
                sheet.mapped(place, "model.added_tokens")
        elif name not in _ROLES:
            if sheet.raw(place) is not None:
                sheet.refuse(place, f"a tokenizer's {name} plays no part here: there is {', '.join(_ROLES)}")
        else:
            token = sheet.places[place]
            if isinstance(token, str) and token:
                special[name] = token
                sheet.mapped(place, f"model.special_tokens.{name}")
            elif token is not None and token != "":
                sheet.refuse(place, f"{shown(token)} must be text: Axolotl refuses it too")
    for key in ("tokens", "added_tokens"):
        # Recipes of 2023 write tokens as a mapping of roles, as special_tokens is.
        words = None if isinstance(sheet.places.get(key), dict) else sheet.words(key)
        if words:
            added += [word for word in words if word not in added]
            sheet.mapped(key, "model.added_tokens")
    if special:
        sheet.set("model.special_tokens", special)
    if added:
        sheet.set("model.added_tokens", added)
    if sheet.raw("added_tokens_overrides") is not None:
        sheet.refuse(
            "added_tokens_overrides",
            "reserved tokens cannot be renamed; add tokens of your own with `tokens:`, or name a tokenizer that has"
            " them with `tokenizer_config:`",
        )
    if sheet.raw("fix_untrained_tokens") is not None:
        sheet.refuse("fix_untrained_tokens", "rows of the embedding are not rewritten before training")
    found = template(sheet, "", weights, "model.chat_template")
    if found is not None and _is_used(sheet):
        sheet.set("model.chat_template", found)
    elif found is not None:
        for key in ("chat_template", "chat_template_jinja"):
            sheet.same(key, "no dataset is rendered by it; Axolotl saves it beside the tokenizer")
    if not is_off(sheet.places.get("chat_template_kwargs")):
        sheet.refuse(
            "chat_template_kwargs", "no variables are passed to the template: write them into chat_template_jinja"
        )


def _is_used(sheet: Sheet) -> bool:
    """Whether a dataset is one of conversations."""
    kinds = (sheet.places[key] for key in sheet.places if re.fullmatch(r"(test_)?datasets\[\d+\]\.type", key))
    return any(isinstance(kind, str) and is_chat(kind.strip()) for kind in kinds)


def template(sheet: Sheet, prefix: str, weights: Weights | None, to: str) -> str | None:
    """The chat template that a recipe, or one of its datasets, asks for; None where it asks for none.

    `prefix` is the place of the mapping with a dot at its end, "" for the recipe itself; `to` the field for the report.
    """
    name_key, text_key = f"{prefix}chat_template", f"{prefix}chat_template_jinja"
    name, text = sheet.text(name_key), sheet.raw(text_key)
    found = None
    if text is not None and name in (None, "jinja"):
        found = templates.own(sheet, text_key)
        if found is not None:
            sheet.mapped(text_key, to)
            sheet.mapped(name_key, to)
    elif name == "jinja":
        sheet.refuse(name_key, "chat_template: jinja needs the template in chat_template_jinja: Axolotl refuses it too")
    elif name is not None:
        found, why = templates.named(name, weights)
        if found is None:
            sheet.refuse(name_key, why)
        else:
            sheet.mapped(name_key, to, why)
        if text is not None:
            sheet.same(text_key, f"Axolotl does not read it beside chat_template: {shown(name)}")
    return found
