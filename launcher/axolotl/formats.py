"""A dataset's `type`: how a row is read and what is learnt of it."""

import re
from collections.abc import Mapping
from typing import Any

from launcher.axolotl import chat
from launcher.axolotl.conversations import is_chat
from launcher.axolotl.models import Weights
from launcher.axolotl.sheet import Sheet, shown

PROMPTS = {
    "alpaca": "alpaca",
    "alpaca:instruct": "alpaca",
    "alpaca:chat": "alpaca_chat",
    "alpaca:chatml": "alpaca_chatml",
    "alpaca:phi": "alpaca_phi",
    "alpaca_instruct": "alpaca",
    "alpaca_instruct.load": "alpaca",
    "alpaca_chat": "alpaca_chat",
    "alpaca_chat.load": "alpaca_chat",
    "alpaca_chat.load_concise": "alpaca_concise",
    "alpaca_chat.load_qa": "alpaca_qa",
    "alpaca_chat.load_camel_ai": "camel_ai",
    "alpaca_chat.load_no_prompt": "alpaca_no_prompt",
    "alpaca_w_system": "alpaca_w_system",
    "alpaca_w_system.load": "alpaca_w_system",
    "alpaca_w_system.load_chat": "alpaca_w_system",
    "alpaca_w_system.load_instruct": "alpaca_w_system_instruct",
    "alpaca_w_system.load_open_orca": "open_orca",
    "alpaca_w_system.load_open_orca_chatml": "open_orca_chatml",
    "concisechoice": "concisechoice",
    "context_qa": "context_qa",
    "context_qa.load": "context_qa",
    "context_qa.load_404": "context_qa_404",
    "context_qa.load_v2": "context_qa_v2",
    "creative_acr.load_answer": "creative_answer",
    "explainchoice": "explainchoice",
    "explainchoice:chat": "explainchoice_chat",
    "gpteacher": "gpteacher",
    "gpteacher:chat": "gpteacher_chat",
    "jeopardy": "jeopardy",
    "jeopardy:chat": "jeopardy_chat",
    "oasst": "oasst",
    "oasst:chat": "oasst_chat",
    "orcamini": "orcamini",
    "orcamini.load": "orcamini",
    "reflection": "reflection",
    "reflection:chat": "reflection_chat",
    "summarizetldr": "summarizetldr",
    "summarizetldr:chat": "summarizetldr",
}
"""Instruction types, and the shipped prompt (conf/prompts) with the same text."""
_PROMPT_KEYS = ("field_instruction", "field_input", "field_output", "field_system", "system_format")
_NAMES = {
    "format": ("instruction", "input"),
    "no_input_format": ("instruction",),
    "system_format": ("system",),
}
"""Names that may stand in each text of a type of one's own."""
_PREFERENCES = re.compile(r"(bradley_terry|stepwise_supervised|dpo|kto|orpo|ipo|chatml|llama3|zephyr)([.:_].*)?$")


def take(sheet: Sheet, prefix: str, weights: Weights | None) -> dict[str, Any] | None:
    """Take a dataset's type and all that says how its rows are read. The fields, None where they cannot be read."""
    key = f"{prefix}.type"
    kind = sheet.places.get(key)
    if isinstance(kind, Mapping):
        return _user_defined(sheet, key)
    if kind is None or kind == "":
        # Without a type Axolotl takes rows that have input_ids, attention_mask and labels as they are, and no others.
        sheet.mapped(key, "data.format", "rows of token numbers, as their labels say")
        return {"format": "tokens"}
    name = str(kind).strip()
    if name in PROMPTS:
        conversation = sheet.text(f"{prefix}.conversation")
        style = PROMPTS[name]
        if conversation is not None and name in ("alpaca_chat", "alpaca_chat.load"):
            style = PROMPTS.get(f"alpaca:{conversation}", style)
            sheet.mapped(f"{prefix}.conversation", "data.prompt")
        sheet.mapped(key, "data.format, data.prompt")
        return {"format": "prompt", "prompt": style}
    if name in ("completion", "completion.load", "pretrain"):
        return plain_text(sheet, prefix)
    if name in ("input_output", "input_output.load"):
        sheet.mapped(key, "data.format")
        return {"format": "segments"}
    if is_chat(name):
        return chat.take(sheet, prefix, name, weights)
    if _PREFERENCES.match(name):
        sheet.refuse(key, f"{name} are rows of preferences or rewards, for methods that are to come", yet=True)
    elif name == "_synthetic":
        sheet.refuse(key, "rows of random tokens are for measurements alone")
    else:
        sheet.refuse(
            key, f"a type {name} is not known: write it as a mapping with format, field_instruction, field_output"
        )
    return None


def plain_text(sheet: Sheet, prefix: str) -> dict[str, Any]:
    """The fields of rows of plain text."""
    fields = {"format": "text"}
    for name in ("field", "text_column"):
        column = sheet.text(f"{prefix}.{name}")
        if column is not None:
            fields["field_text"] = column
            sheet.mapped(f"{prefix}.{name}", "data.field_text")
    sheet.mapped(f"{prefix}.type", "data.format")
    return fields


def _user_defined(sheet: Sheet, key: str) -> dict[str, Any] | None:
    """A type that the recipe writes down itself. What is missing has Axolotl's own defaults."""
    fields: dict[str, Any] = {
        "format": "prompt",
        "prompt": "{instruction} {input} ",
        "prompt_without_input": "{instruction} ",
        "system_format": "{system}",
    }
    for name, field in (
        ("format", "prompt"),
        ("no_input_format", "prompt_without_input"),
        ("system_format", "system_format"),
    ):
        text = sheet.raw(f"{key}.{name}")
        if text is None:
            continue
        if not isinstance(text, str):
            sheet.refuse(f"{key}.{name}", f"{shown(text)} must be text: Axolotl refuses it too")
            continue
        names = _NAMES[name]
        wrong = sorted(set(re.findall(r"\{(\w*)\}", text)) - set(names))
        if wrong or "{{" in text or "}}" in text:
            said = f"{{{wrong[0]}}} has no value there: Axolotl fails on it" if wrong else "doubled braces are not read"
            sheet.refuse(f"{key}.{name}", f"{said}; there is {', '.join(f'{{{name}}}' for name in names)}")
            continue
        if "{" + names[0] + "}" not in text:
            sheet.refuse(f"{key}.{name}", f"{shown(text)} has no place for {{{names[0]}}}")
            continue
        fields[field] = text
        sheet.mapped(f"{key}.{name}", f"data.{field}")
    for name in _PROMPT_KEYS[:4]:
        column = sheet.text(f"{key}.{name}")
        if column is not None:
            fields[name] = column
            sheet.mapped(f"{key}.{name}", f"data.{name}")
    system = sheet.raw(f"{key}.system_prompt")
    if isinstance(system, str):
        fields["system"] = system
        sheet.mapped(f"{key}.system_prompt", "data.system")
    for place in sheet.within(key):
        if not sheet.known(place) and sheet.raw(place) is not None:
            if place.endswith(".field"):
                sheet.same(place, "Axolotl does not read it in a type of one's own")
            else:
                sheet.refuse(
                    place, f"{shown(place.rpartition('.')[2])} is no part of a type: Axolotl does not know it either"
                )
    return fields
