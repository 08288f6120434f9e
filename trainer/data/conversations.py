"""format=chat: messages under any names, their roles, and which of them are learnt."""

import json
from typing import Any

from conf.schema.data import RowsConfig
from trainer.data.rows import BadRow, Message
from trainer.data.wording import named, shown, text_of

ROLES = ("system", "user", "assistant", "tool")
SYNONYMS = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant"}
"""Names of roles in files that people share."""
SHARED = ("conversations", "from", "value")
"""Keys of ShareGPT's files: the list, and a message's role and text."""
Told = tuple[tuple[Message, ...], tuple[bool, ...], tuple[Any, ...] | None]
"""Messages, which of them are learnt, and tools."""


class Conversations:
    """How one set's conversations are read."""

    def __init__(self, how: RowsConfig, learn_all: bool) -> None:
        self.how = how
        self.strict = how.format == "auto"
        self.names = {role: role for role in ROLES} | SYNONYMS | {role: role for role in how.roles.values()} | how.roles
        self.learn_all = learn_all
        self.learn = {self.names.get(role, role) for role in how.learn_roles}

    def key(self, value: dict[str, Any]) -> str | None:
        """The key of a row's list of messages, None where it has none."""
        own = self.how.field_messages
        if own in value:
            return own
        return SHARED[0] if own == "messages" and SHARED[0] in value else None

    def read(self, value: dict[str, Any], parts: list[str]) -> Told:
        """The conversation whose messages stand under one key, or under two that follow each other. Raises BadRow."""
        messages: list[Message] = []
        asked: list[bool | None] = []
        for part in parts:
            items = value[part]
            if not isinstance(items, list) or not items:
                role, content = self.how.field_role, self.how.field_content
                raise BadRow(f"`{part}` is {named(items)}: give an array of {{{role}, {content}}} objects")
            for index, item in enumerate(items):
                message, learn = self._message(item, f"{part}[{index}]", index, first=part == parts[0])
                messages.append(message)
                # What a row gives as the beginning of a conversation is not to be learnt.
                asked.append(False if part != parts[-1] else learn)
        if self.strict and not any(message["role"] == "assistant" for message in messages):
            raise BadRow(f"`{parts[-1]}` has no message of role assistant, so there is nothing to train on")
        return self.told(tuple(messages), value, tuple(asked))

    def told(
        self, messages: tuple[Message, ...], value: dict[str, Any], asked: tuple[bool | None, ...] | None = None
    ) -> Told:
        """A conversation with its system message as the set says, and what is learnt of it."""
        flags = asked if asked is not None else (None,) * len(messages)
        pairs = list(zip(messages, flags, strict=True))
        system = value.get(self.how.field_system)
        if self.how.drop_system:
            pairs = [(message, flag) for message, flag in pairs if message["role"] != "system"]
            system = None
        if not isinstance(system, str) or not system:
            system = self.how.system
        if system and not (pairs and pairs[0][0]["role"] == "system"):
            pairs.insert(0, (Message(role="system", content=system), None))
        learn = tuple(self._learnt(message["role"]) if flag is None else flag for message, flag in pairs)
        return tuple(message for message, _ in pairs), learn, _tools(value.get("tools"))

    def _learnt(self, role: str) -> bool:
        return self.learn_all or role in self.learn

    def _message(self, item: Any, place: str, index: int, first: bool) -> tuple[Message, bool | None]:
        how = self.how
        if not isinstance(item, dict):
            raise BadRow(
                f"`{place}` is {named(item)}: give an object with `{how.field_role}` and `{how.field_content}`"
            )
        role_key = _either(item, how.field_role, "role", SHARED[1])
        content_key = _either(item, how.field_content, "content", SHARED[2])
        given = item.get(role_key)
        role = self.names.get(given) if isinstance(given, str) else None
        if role is None:
            allowed = ", ".join(dict.fromkeys((*ROLES, *how.roles)))
            raise BadRow(
                f"`{place}.{role_key}` is {shown(given)}: allowed are {allowed}; data.roles={{NAME: ROLE}} says what "
                "another name means"
            )
        if self.strict and role == "system" and not (first and index == 0):
            raise BadRow(f"`{place}.{role_key}` is system: only the first message may be")
        more = {key: found for key, found in item.items() if key not in (role_key, content_key, how.field_learn)}
        more = {key: found for key, found in more.items() if found is not None}
        if more.get("tool_calls"):
            more["tool_calls"] = _calls(more["tool_calls"], place)
        content = self._content(item.get(content_key), f"{place}.{content_key}", role, bool(more.get("tool_calls")))
        return Message(role=role, content=content, **more), self._flag(item, place)

    def _content(self, content: Any, place: str, role: str, calls: bool) -> str:
        if content is None and calls:
            return ""
        if isinstance(content, list) and content and all(_is_text(part) for part in content):
            content = "".join(part["text"] for part in content)
        return text_of(content, place, may_be_empty=not self.strict or role != "assistant" or calls)

    def _flag(self, item: dict[str, Any], place: str) -> bool | None:
        key = self.how.field_learn
        flag = None if key is None else item.get(key)
        if flag is not None and not isinstance(flag, bool) and flag not in (0, 1):
            raise BadRow(f"`{place}.{key}` is {shown(flag)}: give true or false")
        return None if flag is None else bool(flag)


def _either(item: dict[str, Any], own: str, default: str, shared: str) -> str:
    """The set's own key of a message; ShareGPT's where that was left at its default and is not there."""
    return shared if own == default and own not in item and shared in item else own


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type", "text") == "text" and isinstance(part.get("text"), str)


def _calls(calls: Any, place: str) -> Any:
    """Tool calls with their arguments as objects, which some files write as text and templates print as JSON."""
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise BadRow(f"`{place}.tool_calls` is {shown(calls)}: give an array of objects")
    return [_call(call, f"{place}.tool_calls") for call in calls]


def _call(call: dict[str, Any], place: str) -> dict[str, Any]:
    inner = call.get("function")
    if isinstance(inner, dict) and isinstance(inner.get("arguments"), str):
        return call | {"function": inner | {"arguments": _parsed(inner["arguments"], f"{place}.function.arguments")}}
    return call


def _tools(tools: Any) -> tuple[Any, ...] | None:
    if isinstance(tools, str) and tools.strip():
        tools = _parsed(tools, "tools")
    if not tools:
        return None
    if not isinstance(tools, list):
        raise BadRow(f"`tools` is {named(tools)}: give an array of objects")
    return tuple(tools)


def _parsed(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadRow(f"`{place}` is text that is not JSON ({error})") from None
