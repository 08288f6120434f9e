"""A judge of JSON Schema documents for tests: knows the keywords that ours use, and refuses a schema with any other."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

ANNOTATIONS = {"$schema", "$defs", "title", "description", "default", "identity"}
"""Keywords that refuse nothing; `identity` is ours."""
TYPES: dict[str, Any] = {
    "object": Mapping, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int,
    "number": (int, float),
}  # fmt: skip


def mistakes(schema: Mapping[str, Any], value: Any, root: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """What is wrong with a value. AssertionError for a schema that is none."""
    for key, asked in schema.items():
        if key in ANNOTATIONS:
            assert key != "description" or isinstance(asked, str)
        elif key == "$ref":
            yield from mistakes(resolve(asked, root), value, root, path)
        elif key == "anyOf":
            found = [list(mistakes(part, value, root, path)) for part in asked]
            if all(found):
                yield f"{path}: fits none of {len(asked)} forms: {found}"
        else:
            yield from _keyword(key, asked, schema, value, root, path)


def resolve(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """The definition that `#/$defs/NAME` points to."""
    assert reference.startswith("#/$defs/")
    found: Mapping[str, Any] = root["$defs"][reference.removeprefix("#/$defs/")]
    return found


def _keyword(
    key: str, asked: Any, schema: Mapping[str, Any], value: Any, root: Mapping[str, Any], path: str
) -> Iterator[str]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if key == "type":
        if not isinstance(value, TYPES[asked]) or (isinstance(value, bool) and asked in ("integer", "number")):
            yield f"{path}: {value!r} is no {asked}"
    elif key in ("enum", "const"):
        if value not in (asked if key == "enum" else [asked]):
            yield f"{path}: {value!r} is not among {asked}"
    elif key == "pattern":
        if isinstance(value, str) and not re.search(asked, value):
            yield f"{path}: {value!r} does not match {asked}"
    elif key == "minLength":
        if isinstance(value, str) and len(value) < asked:
            yield f"{path}: too short"
    elif key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        low = key.lower().endswith("minimum")
        beyond = number and (value < asked if low else value > asked)
        if beyond or (number and key.startswith("exclusive") and value == asked):
            yield f"{path}: {value} is beyond {key} {asked}"
    elif key == "required":
        yield from (f"{path}: lacks {name}" for name in asked if isinstance(value, Mapping) and name not in value)
    elif key == "maxProperties":
        if isinstance(value, Mapping) and len(value) > asked:
            yield f"{path}: more than {asked} keys"
    elif key == "properties":
        for name, part in asked.items():
            if isinstance(value, Mapping) and name in value:
                yield from mistakes(part, value[name], root, f"{path}.{name}")
    elif key == "additionalProperties":
        others = set(value) - set(schema.get("properties", {})) if isinstance(value, Mapping) else set()
        for name in sorted(others):
            if asked is False:
                yield f"{path}: {name} is not known"
            elif asked is not True:
                yield from mistakes(asked, value[name], root, f"{path}.{name}")
    elif key == "items":
        for position, item in enumerate(value if isinstance(value, list) else []):
            yield from mistakes(asked, item, root, f"{path}[{position}]")
    else:
        raise AssertionError(f"{key} is no keyword that this judge knows")
