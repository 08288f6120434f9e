"""Looking fields up by the dotted path that a person types, as `batch.global` or `site.sbatch.nice`."""

import difflib
from collections.abc import Iterable, Iterator
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from conf.schema.base import Group
from conf.schema.run import RunConfig


@cache
def fields() -> dict[str, FieldInfo]:
    """Every field of a run by its dotted path, groups before what they hold."""
    return dict(_walk(RunConfig, ""))


def _walk(group: type[Group], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, info in group.model_fields.items():
        path = prefix + (info.alias or name)
        yield path, info
        nested = group_of(info.annotation)
        if nested is not None:
            yield from _walk(nested, path + ".")


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, or the annotation alone."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def group_of(annotation: Any) -> type[Group] | None:
    """The group that a field holds, None for a field that holds a value."""
    for member in alternatives(annotation):
        if isinstance(member, type) and issubclass(member, Group):
            return member
    return None


def item_of(annotation: Any) -> type[Group] | None:
    """The group that each item of a list is, None for a field that is no list of groups."""
    for member in alternatives(annotation):
        if get_origin(member) is list:
            return group_of(get_args(member)[0])
    return None


def item_fields() -> dict[str, FieldInfo]:
    """Fields of the items of lists of groups, by paths as `data.sets[].path`."""
    found: dict[str, FieldInfo] = {}
    for path, info in fields().items():
        item = item_of(info.annotation)
        if item is not None:
            found |= dict(_walk(item, f"{path}[]."))
    return found


def values_of(annotation: Any) -> Any:
    """The annotation of a free mapping's values, None for a field that is no free mapping."""
    for member in alternatives(annotation):
        if get_origin(member) is dict:
            return get_args(member)[1]
    return None


def choices_of(annotation: Any) -> tuple[Any, ...]:
    """The allowed values of an enumeration, () for a field that is none."""
    return tuple(value for part in alternatives(annotation) if get_origin(part) is Literal for value in get_args(part))


def is_text(annotation: Any) -> bool:
    """Whether a value is text and nothing else but perhaps null."""
    parts = [part for part in alternatives(annotation) if part is not NoneType]
    choices = choices_of(annotation)
    return all(part is str or get_origin(part) is Literal for part in parts) and all(
        isinstance(choice, str) for choice in choices
    )


def annotation_at(path: str) -> Any:
    """The annotation of the field or of the free mapping's key at a dotted path; KeyError where there is none."""
    known = fields()
    if path in known:
        return known[path].annotation
    parent, key = free_key(path)
    if not key:
        raise KeyError(path)
    return values_of(known[parent].annotation)


def free_key(path: str) -> tuple[str, str]:
    """A path below a free mapping as (path of the mapping, key), else ("", "")."""
    parts = path.split(".")
    for length in range(1, len(parts)):
        parent = ".".join(parts[:length])
        info = fields().get(parent)
        if info is not None and values_of(info.annotation) is not None:
            return parent, ".".join(parts[length:])
    return "", ""


def steps_to(path: str) -> list[str]:
    """The keys on the way to a field; a free mapping's key may have dots of its own and is one step."""
    parent, key = free_key(path)
    return [*parent.split("."), key] if key else path.split(".")


def nearest(path: str, also: Iterable[str] = ()) -> str:
    """A phrase with the fields nearest to a path that does not exist; `also` are further names, as of option groups."""
    known = fields()
    parts = path.split(".")
    depth = max(length for length in range(len(parts)) if not length or ".".join(parts[:length]) in known)
    head = "".join(part + "." for part in parts[:depth])
    inside = [name.removeprefix(head) for name in known if name.startswith(head)]
    inside = [name for name in inside if "." not in name]
    found = [
        head + ".".join([name, *parts[depth + 1 :]])
        for name in difflib.get_close_matches(parts[depth], {*inside, *(also if not depth else ())}, n=2, cutoff=0.6)
    ]
    found = [name for name in found if name in known or name in also or free_key(name)[1]]
    if not found:
        found = _by_tail(path, parts[-1], cutoff=0.92 if depth else 0.75)
    if found:
        return "did you mean " + " or ".join(found) + "?"
    return "there is: " + ", ".join(head + name for name in inside) if 0 < len(inside) <= 12 else ""


def _by_tail(path: str, tail: str, cutoff: float) -> list[str]:
    """Fields of any group whose last word is, or is near to, that of a path."""
    leaves = [name for name, info in fields().items() if group_of(info.annotation) is None]
    close = difflib.get_close_matches(tail, {name.rpartition(".")[2] for name in leaves}, n=1, cutoff=cutoff)
    same = [name for name in leaves if close and name.rpartition(".")[2] == close[0]]
    return sorted(same, key=lambda name: -difflib.SequenceMatcher(None, path, name).ratio())[:2]
