"""Dataset types of conversations, old and new."""

from typing import Any

OLD: dict[str, dict[str, Any]] = {
    "sharegpt": {},
    "sharegpt:chat": {},
    "sharegpt.load": {},
    "sharegpt_simple": {},
    "sharegpt_simple.load": {},
    "sharegpt.load_multirole": {},
    "sharegpt.load_role": {"field_role": "role"},
    "sharegpt_simple.load_role": {"field_role": "role"},
    "sharegpt.load_guanaco": {"field_role": "role", "field_content": "text", "roles": {"prompter": "user"}},
    "sharegpt_simple.load_guanaco": {"field_role": "role", "field_content": "text", "roles": {"prompter": "user"}},
    "sharegpt.load_ultrachat": {"field_messages": "messages", "field_role": "role", "field_content": "content"},
    "sharegpt_simple.load_ultrachat": {"field_messages": "messages", "field_role": "role", "field_content": "content"},
}
"""What differs from ShareGPT's keys (`conversations` of `from` and `value`) in each of the old types."""
NEW = ("chat_template", "chat_template.load", "chat_template.default", "messages", "messages.chat", "chat")


def is_chat(name: str) -> bool:
    """Whether a dataset's type is one of conversations."""
    return name in OLD or name in NEW or name in ("llama2_chat", "llama2_chat.load") or name.startswith("sharegpt:")
