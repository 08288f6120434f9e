"""Reading a recipe as YAML 1.2 people mean it: `2e-5` is a number, `yes` and `2024-01-31` are text, and every key has
its line. What a reader would have to guess (a key twice, tabs, two documents) is refused with the line."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from launcher.errors import InputError

_TAG = "tag:yaml.org,2002:"
_MOST_VALUES = 20000
"""Values in a recipe, aliases spelt out: more is no recipe but a file made to fill the memory."""
_DEEPEST = 40
"""Levels of nesting that are followed."""


class _Loader(yaml.SafeLoader):
    """PyYAML's parser with the scalars of YAML 1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema)."""


_Loader.yaml_implicit_resolvers = {}
for _kind, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(f"(?:{_pattern})$"), _first)


@dataclass(frozen=True)
class Source:
    """A recipe that was read."""

    name: str
    """The file as it was named."""
    folder: Path
    """Folder of the file: relative paths within are looked for there too."""
    values: dict[str, Any]
    """The mapping. Keys that are no text are spelt as text."""
    lines: dict[str, int] = field(default_factory=dict)
    """Line of every key, counted from 1, by its place, as `datasets[0].type`."""
    repeated: dict[str, int] = field(default_factory=dict)
    """Keys that stand twice with one and the same value, and the line of the second."""

    def line(self, key: str) -> int | None:
        """Line of a key, None for a key that is not in the file."""
        return self.lines.get(key)


def read(name: str) -> Source:
    """Read a recipe. InputError, with file and line, for what is no YAML mapping."""
    path = Path(name).expanduser()
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{name}: there is no such file") from None
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{name}:{line}: byte {data[error.start]:#04x} is not UTF-8 text: save the file as UTF-8"
        ) from None
    return _Reader(name, path.absolute().parent, text).source()


class _Reader:
    """One file on its way from text to values."""

    def __init__(self, name: str, folder: Path, text: str) -> None:
        self.name = name
        self.folder = folder
        self.text = text
        self.lines: dict[str, int] = {}
        self.repeated: dict[str, int] = {}
        self.count = 0

    def refuse(self, line: int, message: str) -> InputError:
        return InputError(f"{self.name}:{line}: {message}")

    def source(self) -> Source:
        node = self._document()
        if node is None or (isinstance(node, yaml.ScalarNode) and node.tag == _TAG + "null"):
            raise self.refuse(1, "the file is empty: an Axolotl recipe is a mapping that names base_model and datasets")
        if not isinstance(node, yaml.MappingNode):
            kind = "a list" if isinstance(node, yaml.SequenceNode) else "a single value"
            raise self.refuse(
                _line(node),
                f"the file holds {kind}: an Axolotl recipe is a mapping of keys, as `base_model: OWNER/NAME`",
            )
        values = self._value(node, "", ())
        return Source(self.name, self.folder, values, self.lines, self.repeated)

    def _document(self) -> yaml.Node | None:
        try:
            found = [node for node in yaml.compose_all(self.text, Loader=_Loader) if node is not None]
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            raise self.refuse(line, self._sentence(error, line)) from None
        except yaml.YAMLError as error:
            raise self.refuse(1, f"this is no YAML: {' '.join(str(error).split())}") from None
        except RecursionError:
            raise self.refuse(1, "the file is nested too deeply for a recipe") from None
        if len(found) > 1:
            raise self.refuse(
                _line(found[1]), "a second document begins here (`---`): give each recipe a file of its own"
            )
        return found[0] if found else None

    def _sentence(self, error: yaml.MarkedYAMLError, line: int) -> str:
        lines = self.text.splitlines()
        typed = lines[line - 1] if line <= len(lines) else ""
        if "\t" in typed[: len(typed) - len(typed.lstrip())] or "\\t" in str(error.problem):
            return "a tab indents this line: YAML takes spaces alone"
        said = ", ".join(str(part) for part in (error.context, error.problem) if part)
        return f"this is no YAML: {said}"

    def _value(self, node: yaml.Node, place: str, above: tuple[int, ...]) -> Any:
        self.count += 1
        if self.count > _MOST_VALUES:
            raise self.refuse(_line(node), f"more than {_MOST_VALUES} values: this is no recipe")
        if id(node) in above or len(above) > _DEEPEST:
            what = "an alias refers to what it stands in" if id(node) in above else "nested too deeply for a recipe"
            raise self.refuse(_line(node), what)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place, (*above, id(node)))
        if isinstance(node, yaml.SequenceNode):
            items = []
            for position, item in enumerate(node.value):
                inner = f"{place}[{position}]"
                self.lines.setdefault(inner, _line(item))
                items.append(self._value(item, inner, (*above, id(node))))
            return items
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, place: str, above: tuple[int, ...]) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        seen: dict[str, tuple[int, yaml.Node]] = {}
        for key, value in node.value:
            line = _line(key)
            if key.tag == _TAG + "merge":
                for part in self._merged(value, place, above):
                    merged = part | merged
                continue
            if not isinstance(key, yaml.ScalarNode):
                raise self.refuse(line, "a key must be text, not a list or a mapping")
            name = str(key.value)
            inner = f"{place}.{name}" if place else name
            if name in seen:
                first, before = seen[name]
                if not _same(before, value):
                    raise self.refuse(
                        line,
                        f"{inner} stands twice with different values, in lines {first} and {line}: keep one "
                        f"(Axolotl takes the one in line {line})",
                    )
                self.repeated[inner] = line
                continue
            seen[name] = (line, value)
            self.lines[inner] = line
            own[name] = self._value(value, inner, above)
        return merged | own

    def _merged(self, node: yaml.Node, place: str, above: tuple[int, ...]) -> list[dict[str, Any]]:
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found = []
        for part in parts:
            if not isinstance(part, yaml.MappingNode):
                raise self.refuse(_line(node), "`<<` takes a mapping, or a list of mappings")
            found.append(self._value(part, place, above))
        return found

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        kind, text = node.tag.removeprefix(_TAG), str(node.value)
        try:
            if kind == "null":
                return None
            if kind == "bool":
                return {"true": True, "false": False}[text.lower()]
            if kind == "int":
                return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
            if kind == "float":
                return float(
                    text.replace(".inf", "inf").replace(".Inf", "inf").replace(".INF", "inf").lstrip(".")
                    if text.lstrip("+-").lower() in (".inf", ".nan")
                    else text
                )
        except (KeyError, ValueError):
            raise self.refuse(_line(node), f"{text!r} is no {kind}") from None
        if kind in ("str", "merge"):
            return text
        raise self.refuse(_line(node), f"the tag {node.tag} is not taken: write the plain value")


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _same(one: yaml.Node, other: yaml.Node) -> bool:
    """Whether two values say the same; an empty one and `false` both switch a key off."""
    if _is_off(one) and _is_off(other):
        return True
    try:
        return yaml.serialize(one) == yaml.serialize(other)
    except RecursionError:
        return False


def _is_off(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and (node.tag == _TAG + "null" or node.value in ("", "false", "False"))
