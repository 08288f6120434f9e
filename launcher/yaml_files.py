"""Reading the YAML files of options: the same values that Hydra's loader sees, read fast, with the line of each.

Plain PyYAML takes `2e-5` for text and `2001-01-01` for a date; OmegaConf, and so Hydra, do not, and neither does this.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

_FLOAT = "tag:yaml.org,2002:float"
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_MERGE = "tag:yaml.org,2002:merge"
_EXPONENT = re.compile(r"[-+]?[0-9]+(?:_[0-9]+)*(?:\.[0-9_]*)?[eE][-+]?[0-9]+$")
"""Numbers with an exponent: YAML 1.1 asks for a point and for the exponent's sign, people type neither."""


class Loader(yaml.CSafeLoader):
    """PyYAML's C loader with the scalars of OmegaConf's."""


Loader.add_implicit_resolver(_FLOAT, _EXPONENT, list("-+0123456789"))
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
    for first, resolvers in Loader.yaml_implicit_resolvers.items()
}


class Unreadable(Exception):
    """A file that is no YAML file of one mapping; knows the line, counted from 1."""

    def __init__(self, line: int, message: str) -> None:
        self.line = line
        self.message = message
        super().__init__(f"line {line}: {message}")


def read_node(file: Path) -> yaml.MappingNode:
    """The file's mapping with the place of every part. Raises Unreadable, or OSError."""
    data = file.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Unreadable(line, f"byte {data[error.start]:#04x} is not UTF-8 text: save the file as UTF-8") from None
    try:
        node = yaml.compose(text, Loader=Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unreadable(mark.line + 1 if mark else 1, _sentence(error, text)) from None
    except yaml.YAMLError as error:
        raise Unreadable(1, f"this is no YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise Unreadable(1, "the file is nested too deeply: a set of fields is at most four deep") from None
    if node is None or (isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null")):
        raise Unreadable(1, "the file says nothing: write fields into it, as `name: ours`, or remove it")
    if not isinstance(node, yaml.MappingNode):
        kind = "a list" if isinstance(node, yaml.SequenceNode) else "a single value"
        raise Unreadable(node.start_mark.line + 1, f"the file holds {kind}: it must hold fields, as `name: ours`")
    return node


def read_values(file: Path) -> dict[str, Any]:
    """The file's values. Raises Unreadable, or OSError."""
    node = read_node(file)
    loader = Loader("")
    try:
        values: dict[str, Any] = loader.construct_document(node)
        return values
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unreadable(mark.line + 1 if mark else 1, str(error.problem)) from None
    except (ValueError, RecursionError) as error:
        raise Unreadable(1, f"a value cannot be read: {error}") from None
    finally:
        loader.dispose()


def line_in(node: yaml.Node, steps: Sequence[str | int]) -> int:
    """Line of what stands at the end of steps (keys, and positions in lists); 0 where that is not in the node.

    Where the way ends in a value before the last step, it is that value's line."""
    line = 0
    for step in steps:
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            if step >= len(node.value):
                return 0
            node = node.value[step]
            line = node.start_mark.line + 1
        elif isinstance(node, yaml.MappingNode):
            entries = [(key, value) for key, value in node.value if key.value == str(step)]
            if not entries:
                return 0
            key, node = entries[-1]
            line = key.start_mark.line + 1
        else:
            break
    return line


def items(node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """Keys and values of a mapping but for merges (`<<: *other`), whose keys are those of the other mapping."""
    for key, value in node.value:
        if key.tag != _MERGE:
            yield key, value


def first_line(file: Path) -> str:
    """What the file says that it is: its first comment without the `# `; Hydra's `# @package ...` is passed over."""
    with open(file, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            text = line.strip()
            if text.startswith("#") and not text.startswith(("# @", "#@", "# yaml-language-server")):
                return text.lstrip("#").strip()
            if text and not text.startswith("#"):
                break
    return ""


def _sentence(error: yaml.MarkedYAMLError, text: str) -> str:
    mark = error.problem_mark
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())] or "\\t" in str(error.problem):
        return "a tab indents this line: YAML takes spaces alone"
    if "single document" in str(error.context):
        return "a second document begins here: a file holds one"
    said = ", ".join(part for part in (error.context, error.problem) if part)
    return f"this is no YAML: {said}"
