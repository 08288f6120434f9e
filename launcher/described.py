"""A field of the schema in words: what it takes, what it is by default, and what it must not be."""

import re
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from conf.schema.fields import alternatives, choices_of, group_of, values_of
from launcher.validate import show

_SCALARS: dict[Any, str] = {int: "whole number", float: "number", str: "text", bool: "true or false", Any: "value"}
_PLURALS: dict[Any, str] = {int: "whole numbers", float: "numbers", str: "texts", bool: "true or false", Any: "values"}


def type_of(info: FieldInfo) -> str:
    """What a field takes, as `whole number above 0, or null`."""
    limits = _limits(info.metadata)
    parts = [_part(part) for part in alternatives(info.annotation) if part is not NoneType]
    null = " or null" if NoneType in alternatives(info.annotation) else ""
    text = " or ".join(parts) + (f" {limits}" if limits else "")
    return f"{text},{null}" if null and (limits or " " in text) else text + null


def default_of(info: FieldInfo) -> Any:
    """The default as JSON has it; PydanticUndefined where a value must be given."""
    value = info.get_default(call_default_factory=True)
    return value.model_dump(mode="json", by_alias=True) if hasattr(value, "model_dump") else value


def default_in_words(info: FieldInfo) -> str:
    """The default as people type it."""
    value = default_of(info)
    if value is PydanticUndefined:
        return "none: a value is needed"
    return '""' if value == "" else str(value) if isinstance(value, list | dict) else show(value)


def allowed_of(info: FieldInfo) -> list[Any]:
    """Allowed values of an enumeration; empty for other fields, and where a number is allowed, too."""
    kinds = [part for part in alternatives(info.annotation) if part is not NoneType]
    return list(choices_of(info.annotation)) if all(get_origin(part) is Literal for part in kinds) else []


def meaning_of(info: FieldInfo) -> str:
    """The field's docstring on one line, with None as people type it."""
    return as_typed(" ".join((info.description or "").split()))


def as_typed(text: str) -> str:
    """A docstring in the words of YAML: `null` for None."""
    return re.sub(r"\bNone\b", "null", text)


def first_sentence(text: str) -> str:
    """The first sentence of a docstring."""
    return re.split(r"(?<!\bal)\. ", text, maxsplit=1)[0].rstrip(".")


def _part(annotation: Any, many: bool = False) -> str:
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *metadata = get_args(annotation)
        return " ".join(filter(None, (_part(inner, many), _limits(metadata))))
    if origin is Literal:
        return "one of " + ", ".join(show(choice) for choice in get_args(annotation))
    if origin is list:
        (inner,) = get_args(annotation)
        return "list of sets of fields" if group_of(inner) is not None else f"list of {_part(inner, many=True)}"
    if origin is dict:
        values = values_of(annotation)
        kinds = [_part(part, many=True) for part in alternatives(values) if part is not NoneType]
        return "mapping of texts to " + " or ".join(kinds)
    if group_of(annotation) is not None:
        return "set of fields"
    return (_PLURALS if many else _SCALARS).get(annotation, str(annotation))


def _limits(metadata: list[Any]) -> str:
    found = []
    for limit in metadata:
        if isinstance(limit, Gt):
            found.append(f"above {limit.gt:g}")
        elif isinstance(limit, Ge):
            found.append(f"from {limit.ge:g}")
        elif isinstance(limit, Lt):
            found.append(f"below {limit.lt:g}")
        elif isinstance(limit, Le):
            found.append(f"up to {limit.le:g}")
        elif isinstance(limit, MinLen):
            found.append("that is not empty")
        elif getattr(limit, "pattern", None):
            found.append(f"of the form {limit.pattern}")
    return " and ".join(found)
