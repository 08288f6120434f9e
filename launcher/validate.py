"""From a plain tree of values to a RunConfig: every refused value as one problem, in words that say what to type."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from conf.schema.fields import annotation_at, choices_of, fields, group_of, nearest, values_of
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


def validate(tree: dict[str, Any], source: Callable[[str], str]) -> tuple[RunConfig, list[Problem]]:
    """The config that a tree says, and the problems of what had to be left out of it.

    A refused value is replaced by its default, so that the rest can still be judged. `source` gives the place of a
    dotted path's value (`FILE:LINE`), or "" for the command line. The tree is changed."""
    problems: dict[str, Problem] = {}
    for _ in range(8):
        try:
            return RunConfig.model_validate(tree), list(problems.values())
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                path = _path(detail["loc"])
                if path not in problems:
                    place = source(path)
                    message = _sentence(detail, path) + (f" ({place})" if place else "")
                    problems[path] = Problem(path, message)
                    _reset(tree, path)
    return RunConfig(), list(problems.values())


def _path(location: tuple[int | str, ...]) -> str:
    """pydantic's location as the dotted path of the field: list positions and union members left out."""
    path = ""
    for step in location:
        longer = f"{path}.{step}" if path else str(step)
        info = fields().get(path)
        if path and (info is None or (group_of(info.annotation) is None and values_of(info.annotation) is None)):
            break
        path = longer
    return path


def _reset(tree: dict[str, Any], path: str) -> None:
    """Put a field's default back; take out what is no field, and a group that lacks something."""
    *parents, last = path.split(".")
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


def _sentence(error: ErrorDetails, path: str) -> str:
    kind, value = error["type"], error["input"]
    if kind == "extra_forbidden":
        if path == "recipe":
            return "a recipe file begins with the line `# @package _global_`"
        return f"{path} is no field; {nearest(path) or 'conf/schema lists what there is'}"
    info = fields().get(path)
    meaning = " ".join((info.description or "").split()) if info else ""
    if kind == "missing":
        return f"{path} is needed beside its neighbours: add {path}=VALUE. {meaning}"
    annotation = annotation_at(path)
    if group_of(annotation) is not None or (values_of(annotation) is not None and not isinstance(value, Mapping)):
        return f"{path}={show(value)} must be a set of fields, each set by itself as {path}.FIELD=VALUE"
    choices = choices_of(annotation)
    shown = f"{path}={show(value)}"
    if choices:
        allowed = ", ".join(show(choice) for choice in choices)
        guess = did_you_mean(str(value), [str(choice) for choice in choices])
        guess = f"{guess} " if guess.startswith("did") else ""
        return f"{shown} is not allowed; {guess}Allowed: {allowed}{_or_null(annotation)}"
    if kind == "string_pattern_mismatch":
        return f"{shown} is not allowed. {meaning}"
    if values_of(annotation) is None and len(str(error["loc"][-1])) and isinstance(error["loc"][-1], int):
        return f"{path}: item {error['loc'][-1] + 1}, {show(value)}, {_asked(error)}"
    return f"{shown} {_asked(error)}{_example(path)}"


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
