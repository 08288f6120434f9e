"""Datasets of conversations: `chat_template`, and the `sharegpt` types that came before it."""

from collections.abc import Mapping
from typing import Any

from launcher.axolotl import templates, tokens
from launcher.axolotl.conversations import NEW, OLD
from launcher.axolotl.models import Weights
from launcher.axolotl.sheet import Sheet, is_off, shown

_SYSTEMS = {
    "chatml": "You are a helpful assistant.",
    "vicuna": (
        "A chat between a curious user and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the user's questions."
    ),
}
"""System texts that FastChat's conversations, which the old types used, begin with where a row has none."""
_LLAMA2_SYSTEM = (
    "You are a helpful, respectful and honest assistant. Always answer as helpfully as possible, while being safe. "
    "Your answers should not include any harmful, unethical, racist, sexist, toxic, dangerous, or illegal content. "
    "Please ensure that your responses are socially unbiased and positive in nature.\n\n"
    "If a question does not make any sense, or is not factually coherent, explain why instead of answering something "
    "not correct. If you don't know the answer to a question, please don't share false information."
)
"""Llama 2's published system prompt (github.com/meta-llama/llama, llama/generation.py), written by type llama2_chat."""
_UNREAD = {
    "message_field_training_detail": "parts of a message cannot be learnt or left out by offsets",
    "split_thinking": "thoughts are not cut out of answers: do so in the rows",
    "input_transform": "rows are not transformed: write them as they shall be",
    "input_format": "rows are not transformed: write them as they shall be",
}


def take(sheet: Sheet, prefix: str, name: str, weights: Weights | None) -> dict[str, Any]:
    """Take the keys of a dataset of conversations. The fields of its rows."""
    fields: dict[str, Any] = {"format": "chat"}
    if name in NEW:
        sheet.mapped(f"{prefix}.type", "data.format")
        own = tokens.template(sheet, f"{prefix}.", weights, "data.chat_template")
        if own is not None:
            fields["chat_template"] = own
    else:
        _old(sheet, prefix, name, weights, fields)
    messages = sheet.text(f"{prefix}.field_messages")
    if messages is not None:
        fields["field_messages"] = messages
        sheet.mapped(f"{prefix}.field_messages", "data.field_messages")
    _properties(sheet, prefix, fields)
    _roles(sheet, prefix, fields)
    _learnt(sheet, prefix, fields)
    drop = sheet.flag(f"{prefix}.drop_system_message")
    if drop is not None:
        fields["drop_system"] = drop
        sheet.mapped(f"{prefix}.drop_system_message", "data.drop_system")
    for key in ("field_thinking", "template_thinking_key"):
        value = sheet.text(f"{prefix}.{key}")
        if value not in (None, "reasoning_content"):
            sheet.refuse(
                f"{prefix}.{key}", "a message's thoughts keep the name reasoning_content: rename them in the rows"
            )
        else:
            sheet.same(f"{prefix}.{key}", "a message's further keys are passed to the template under their own names")
    tools = sheet.text(f"{prefix}.field_tools")
    if tools not in (None, "tools"):
        sheet.refuse(f"{prefix}.field_tools", "a row's list of tools keeps the name tools: rename it in the rows")
    else:
        sheet.same(f"{prefix}.field_tools", "a row's tools are given to the template")
    for key, why in _UNREAD.items():
        place = f"{prefix}.{key}"
        if is_off(sheet.places.get(place)):
            sheet.same(place, "switched off")
        else:
            sheet.refuse(place, why)
    return fields


def _old(sheet: Sheet, prefix: str, name: str, weights: Weights | None, fields: dict[str, Any]) -> None:
    """ShareGPT's types. FastChat wrote their conversations; its default was Vicuna's."""
    keys = {"field_messages": "conversations", "field_role": "from", "field_content": "value"}
    fields.update(keys | OLD.get(name, {}))
    wanted = sheet.text(f"{prefix}.conversation")
    if name.startswith("llama2_chat"):
        style, where = "llama2", f"{prefix}.type"
    elif wanted is not None:
        style, where = wanted, f"{prefix}.conversation"
    else:
        style, where = sheet.text("chat_template") or "vicuna", f"{prefix}.type"
    if style == "jinja" or (sheet.raw("chat_template_jinja") is not None and wanted is None):
        template: str | None = None
    else:
        template, why = templates.named(style, weights)
        if template is None:
            sheet.refuse(where, why.replace("a chat template", "a conversation"))
        else:
            fields["chat_template"] = template
    system = _LLAMA2_SYSTEM if name.startswith("llama2_chat") else _SYSTEMS.get(template or "")
    told = sheet.text("default_system_message")
    if told is not None and not name.startswith("llama2_chat"):
        system = told
        sheet.mapped("default_system_message", "data.system")
    if system is not None:
        fields["system"] = system
    sheet.mapped(
        f"{prefix}.type", "data.format, data.chat_template, data.field_messages, data.field_role, data.field_content"
    )
    sheet.mapped(f"{prefix}.conversation", "data.chat_template, data.system")
    sheet.same(f"{prefix}.strict", "roles that are not known are named when the rows are prepared")
    for key in ("field_human", "field_model"):
        role = sheet.text(f"{prefix}.{key}")
        if role is not None:
            fields.setdefault("roles", {})[role] = "user" if key == "field_human" else "assistant"
            sheet.mapped(f"{prefix}.{key}", "data.roles")


def _properties(sheet: Sheet, prefix: str, fields: dict[str, Any]) -> None:
    """Names of a message's role and text, in the old spelling and the new one."""
    mappings = f"{prefix}.message_property_mappings"
    for key, field in (
        (f"{prefix}.message_field_role", "field_role"),
        (f"{prefix}.message_field_content", "field_content"),
        (f"{mappings}.role", "field_role"),
        (f"{mappings}.content", "field_content"),
    ):
        value = sheet.text(key)
        if value is not None:
            fields[field] = value
            sheet.mapped(key, f"data.{field}")
    for place in sheet.within(mappings):
        inner = place.rpartition(".")[2]
        if inner in ("role", "content") or sheet.raw(place) is None:
            continue
        if sheet.places[place] == inner:
            sheet.same(place, "a message's further keys are passed to the template under their own names")
        else:
            sheet.refuse(
                place, f"a message's {shown(sheet.places[place])} cannot be renamed to {inner}: rename it in the rows"
            )


def _roles(sheet: Sheet, prefix: str, fields: dict[str, Any]) -> None:
    """`roles: {target: [names]}`; in old types `input` and `output` stand for user and assistant."""
    place = f"{prefix}.roles"
    roles = sheet.raw(place)
    if roles is None:
        return
    if not isinstance(roles, Mapping):
        sheet.refuse(place, f"{shown(roles)} must be a mapping, as `user: [human]`")
        return
    found: dict[str, str] = dict(fields.get("roles", {}))
    for target, names in roles.items():
        inner = f"{place}.{target}"
        meant = {"input": "user", "output": "assistant"}.get(str(target), str(target))
        for name in names if isinstance(names, list) else [names]:
            if isinstance(name, str) and name != meant:
                found[name] = meant
        sheet.mapped(inner, "data.roles")
    if found:
        fields["roles"] = found


def _learnt(sheet: Sheet, prefix: str, fields: dict[str, Any]) -> None:
    roles = sheet.places.get(f"{prefix}.roles_to_train")
    if roles is not None:
        names = sheet.words(f"{prefix}.roles_to_train") or []
        known = {"human": "user", "gpt": "assistant"} | fields.get("roles", {})
        fields["learn_roles"] = list(dict.fromkeys(known.get(name, name) for name in names))
        sheet.mapped(f"{prefix}.roles_to_train", "data.learn_roles")
    for key in ("train_on_eos", "train_on_eot"):
        end = sheet.text(f"{prefix}.{key}")
        if end in ("turn", "all", "last", "none"):
            fields["learn_end"] = end
            sheet.mapped(f"{prefix}.{key}", "data.learn_end")
        elif end is not None:
            sheet.refuse(f"{prefix}.{key}", f"{end} must be turn, all, last or none: Axolotl refuses it too")
    learn = sheet.text(f"{prefix}.message_field_training")
    if learn is not None:
        fields["field_learn"] = learn
        sheet.mapped(f"{prefix}.message_field_training", "data.field_learn")
