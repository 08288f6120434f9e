"""From a plain tree of values to a RunConfig: every refused value as one problem, in words that say what to type."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from conf.schema.fields import (
    alternatives,
    annotation_at,
    choices_of,
    fields,
    group_of,
    item_fields,
    item_of,
    nearest,
    steps_to,
    values_of,
)
from conf.schema.problems import Problem, did_you_mean
from conf.schema.run import RunConfig

_KINDS = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be text: put it in quotes",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "string_too_short": "must not be empty",
}
"""What pydantic's error types ask for."""


class Places(Protocol):
    """Where values were written."""

    def __call__(self, path: str, steps: Sequence[str | int] = (), /) -> str:
        """`FILE:LINE` of the value at a dotted path, and at steps into it; "" for the command line."""


def validate(tree: dict[str, Any], source: Places) -> tuple[RunConfig, list[Problem]]:
    """The config that a tree says, and the problems of what had to be left out of it.

    A refused value is replaced by its default, so that the rest can still be judged. `source` tells where values were
    written. The tree is changed."""
    problems: dict[tuple[str, str], Problem] = {}
    for _ in range(8):
        try:
            return RunConfig.model_validate(tree), list(problems.values())
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                path, steps = _path(detail["loc"])
                part = _inside(path, steps)
                if (path, part) not in problems:
                    place = source(path, steps)
                    message = _sentence(detail, path, part) + (f" ({place})" if place else "")
                    problems[path, part] = Problem(path, message)
                    _reset(tree, path)
    return RunConfig(), list(problems.values())


def _path(location: tuple[int | str, ...]) -> tuple[str, tuple[int | str, ...]]:
    """pydantic's location as the dotted path of the field, and the steps into its value.

    Members of a union are steps to pydantic, and left out where they come last."""
    path = ""
    for position, step in enumerate(location):
        info = fields().get(path)
        if path and (info is None or (group_of(info.annotation) is None and values_of(info.annotation) is None)):
            return path, location[position:] if isinstance(step, int) else ()
        path = f"{path}.{step}" if path else str(step)
    return path, ()


def _inside(path: str, steps: tuple[int | str, ...]) -> str:
    """Steps into a list in words, as `item 2, path`; "" where there are none."""
    if not steps or not isinstance(steps[0], int):
        return ""
    rest: list[str] = []
    for step in steps[1:]:
        known = ".".join(rest)
        info = item_fields().get(f"{path}[].{known}")
        if known and info is not None and values_of(info.annotation) is None and group_of(info.annotation) is None:
            break
        rest.append(str(step))
    return f"item {steps[0] + 1}" + (f", {'.'.join(rest)}" if rest else "")


def _reset(tree: dict[str, Any], path: str) -> None:
    """Put a field's default back; take out what is no field, and a group that lacks something."""
    *parents, last = steps_to(path)
    node: Any = tree
    for depth, parent in enumerate(parents):
        if fields()[".".join(parents[: depth + 1])].default is None:
            node[parent] = None  # an optional group, as model.wheel
            return
        node = node[parent]
    default: Any = RunConfig().dump()
    for part in (*parents, last):
        default = default.get(part, KeyError) if isinstance(default, Mapping) else KeyError
    if default is KeyError:
        node.pop(last, None)
    else:
        node[last] = default


def _sentence(error: ErrorDetails, path: str, part: str) -> str:
    item, _, inner = part.partition(", ")
    if item:
        return _of_item(error, path, item, inner)
    kind, value = error["type"], error["input"]
    if kind == "extra_forbidden":
        return _no_field(path)
    if kind == "value_error":
        return f"{path}: {error['ctx']['error']}"  # what a set of fields says of itself
    info = fields().get(path)
    meaning = " ".join((info.description or "").split()) if info else ""
    if kind == "missing":
        return f"{path} is needed beside its neighbours: add {path}=VALUE. {meaning}"
    annotation = annotation_at(path)
    if group_of(annotation) is not None or (values_of(annotation) is not None and not isinstance(value, Mapping)):
        return f"{path}={show(value)} must be a set of fields, each set by itself as {path}.FIELD=VALUE"
    return _of_value(error, f"{path}={show(value)}", annotation, info) + (
        "" if choices_of(annotation) or kind == "string_pattern_mismatch" else _example(path)
    )


def _no_field(path: str) -> str:
    group, _, rest = path.partition(".")
    if path == "recipe":
        return "a recipe file begins with the line `# @package _global_`"
    if group in fields() and rest.partition(".")[0] in fields():
        other = rest.partition(".")[0]
        return f"{path} is no field: {other} is not part of {group}. Set {other} in a recipe, or by {other}=... typed"
    return f"{path} is no field; {nearest(path) or 'conf/schema lists what there is'}"


def _of_item(error: ErrorDetails, path: str, item: str, inner: str) -> str:
    """What is wrong with an item of a list: the item itself, or a field of it where it is a set of fields."""
    value = error["input"]
    group = item_of(annotation_at(path))
    if group is None:
        return f"{path}: {item}, {show(value)}, {_asked(error)}"
    if not inner:
        return f"{path}: {item}, {show(value)}, must be a set of fields, as {{path: FILE}}"
    if error["type"] == "extra_forbidden":
        known = {name.removeprefix(f"{path}[].") for name in item_fields() if name.startswith(f"{path}[].")}
        guess = did_you_mean(inner, known) or f"`python -m launcher explain {path}` lists what there is"
        return f"{path}: {item}, {inner} is no field of it; {guess}"
    info = item_fields().get(f"{path}[].{inner}")
    annotation = info.annotation if info is not None else None
    return _of_value(error, f"{path}: {item}, {inner}={show(value)}", annotation, info)


def _of_value(error: ErrorDetails, shown: str, annotation: Any, info: FieldInfo | None) -> str:
    """What is wrong with one value, and what is allowed."""
    choices = choices_of(annotation)
    if choices:
        numbers = ["whole numbers above 0"] * any(get_origin(part) is Annotated for part in alternatives(annotation))
        allowed = ", ".join([*numbers, *map(show, choices)])
        guess = did_you_mean(str(error["input"]), [str(choice) for choice in choices])
        guess = f"{guess} " if guess.startswith("did") else ""
        return f"{shown} is not allowed; {guess}Allowed: {allowed}{_or_null(annotation)}"
    if error["type"] == "string_pattern_mismatch":
        return f"{shown} is not allowed. {' '.join((info.description or '').split()) if info else ''}"
    return f"{shown} {_asked(error)}"


def _asked(error: ErrorDetails) -> str:
    text = _KINDS.get(error["type"])
    return text.format(**error.get("ctx", {})) if text else error["msg"][:1].lower() + error["msg"][1:]


def _example(path: str) -> str:
    info = fields().get(path)
    default = info.get_default(call_default_factory=True) if info is not None else None
    if isinstance(default, bool | int | float) or (isinstance(default, str) and default):
        return f", as {path}={show(default)} (the default)"
    if isinstance(default, list):
        return f", as {path}=[a,b]"
    return _or_null(info.annotation) if info is not None else ""


def _or_null(annotation: Any) -> str:
    return ", or null" if type(None) in getattr(annotation, "__args__", ()) else ""


def show(value: Any) -> str:
    """A value as people type it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
