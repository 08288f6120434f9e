"""Words for what stands in a row, as messages need them."""

import json
from typing import Any

from trainer.data.rows import BadRow


def named(value: Any) -> str:
    """What kind of value this is, as `an array`."""
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "true or false", type(None): "missing or null"}
    return "an empty array" if value == [] else kinds.get(type(value), "a number")


def shown(value: Any) -> str:
    """The value itself, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 40 else text[:40] + "..."


def keys(value: dict[str, Any]) -> str:
    """The keys of a row."""
    names = [shown(key) for key in list(value)[:6]]
    return ", ".join(names) + (", ..." if len(value) > 6 else "") if names else "no keys"


def text_of(value: Any, key: str, may_be_empty: bool = True) -> str:
    """A row's text under a key. Raises BadRow where it is none."""
    if not isinstance(value, str):
        raise BadRow(f"`{key}` is {named(value)}: give a string")
    if not may_be_empty and not value.strip():
        raise BadRow(f"`{key}` is empty")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadRow(f"`{key}` has half a surrogate pair at character {error.start + 1}, which is no text") from None
    return value
