"""Files of a user's own (--config-dir, recipe=FILE.yaml), looked at before Hydra reads them: what Hydra would pass over
in silence, or refuse without saying where, is a problem with file and line here.

Wrong fields and values are left to launcher.validate, which judges the composed tree and finds their lines.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_origin

import yaml
from omegaconf.errors import GrammarParseError
from omegaconf.grammar_parser import parse as parse_interpolation

from conf.schema.fields import alternatives, annotation_at, fields, free_key, group_of, nearest, values_of
from conf.schema.problems import Problem, did_you_mean
from launcher.options import CONF, groups, option_file, options, split_cluster
from launcher.overrides import mentions_interpolation
from launcher.yaml_files import Unreadable, items, read_node

_ENTRY = re.compile(r"(?P<flags>(?:(?:optional|override) +)*)(?P<slash>/?)(?P<group>[^@/ ]+)(?P<package>@\S+)?")
"""Key of an entry in a defaults list, as `override /gpu@_global_.gpu`."""
_PLAIN = ("str", "int", "float", "bool", "null", "map", "seq", "merge")


@dataclass(frozen=True)
class Wrong:
    """What is wrong in one line of a file."""

    line: int
    message: str


def check_folder(config_dir: Path) -> Iterator[Problem]:
    """Folders that are no group, and files that a shipped option of the same name stands before."""
    if config_dir.resolve() == CONF:
        return
    for folder in sorted(path for path in config_dir.iterdir() if path.is_dir() and not path.name.startswith(".")):
        files = [path for path in folder.glob("*.y*ml") if path.suffix in (".yaml", ".yml")]
        if folder.name not in groups():
            if not all(_same(file, CONF / folder.name / file.name) for file in files):
                guess = did_you_mean(folder.name, groups())
                yield Problem(folder.name, f"{folder} is no group of options: {guess or _all_groups()}")
            continue
        for file in sorted(files):
            shipped = CONF / folder.name / file.name
            if file.suffix == ".yml":
                yield Problem(folder.name, f"{file} is not read: options end in .yaml, so rename it")
            elif shipped.is_file() and not _same(file, shipped):
                yield Problem(
                    folder.name, f"{file} has no effect: a shipped option has the same name, so give it one of its own"
                )


def check_files(choices: Mapping[str, str], config_dir: Path | None) -> Iterator[Problem]:
    """What is wrong with the user's own files among the chosen options, and those that they choose in their turn."""
    waiting = list(choices.items())
    seen: set[Path] = set()
    while waiting:
        group, option = waiting.pop()
        file = option_file(group, option, config_dir)
        if file is None or file in seen or file.is_relative_to(CONF):
            continue
        seen.add(file)
        check = _Check(group, file, config_dir)
        for wrong in check.found():
            yield Problem(group, f"{wrong.message} ({file}:{wrong.line})")
        waiting += check.chosen


def _same(file: Path, shipped: Path) -> bool:
    """Whether a file is a copy of a shipped one: a whole conf/ may be given as --config-dir."""
    return shipped.is_file() and shipped.read_bytes() == file.read_bytes()


class _Check:
    """One file on its way."""

    def __init__(self, group: str, file: Path, config_dir: Path | None) -> None:
        self.group = group
        self.file = file
        self.config_dir = config_dir
        self.chosen: list[tuple[str, str]] = []
        """Options that its defaults list chooses."""
        self.walked: set[int] = set()
        """Nodes that were looked at; aliases lead to them again."""
        self.open: list[int] = []
        """Nodes around the present one."""

    def found(self) -> Iterator[Wrong]:
        try:
            root = read_node(self.file)
        except OSError as error:
            yield Wrong(1, f"the file cannot be read: {error.strerror}")
            return
        except Unreadable as error:
            yield Wrong(error.line, error.message)
            return
        package, wrong = self._package()
        yield from wrong
        for key, value in items(root):
            if key.value == "defaults":
                yield from self._defaults(value)
        yield from self._mapping(root, package, top=True)

    def _package(self) -> tuple[str, list[Wrong]]:
        """Dotted place of the file's values, from Hydra's header; "" is the root."""
        package, header, wrong = self.group, True, []
        for number, line in enumerate(self.file.read_text(encoding="utf-8-sig").splitlines(), 1):
            text = line.strip()
            if text and not text.startswith("#"):
                break
            if not re.match(r"#\s*@", text):
                header = header and not text
            elif not header:
                wrong.append(Wrong(number, f"`{text}` has effect in the first line of a file alone: move it there"))
            elif match := re.fullmatch(r"#\s*@package\s+(\S+)", text):
                package = match[1].replace("_group_", self.group).removeprefix("_global_").strip(".")
            else:
                wrong.append(Wrong(number, f"`{text}` is no header: there is `# @package NAME`"))
        if self.group == "recipe" and package == "recipe" and not wrong:
            wrong.append(Wrong(1, "a recipe file begins with the line `# @package _global_`"))
        return "" if self.group == "recipe" else package, wrong

    def _mapping(self, node: yaml.MappingNode, path: str | None, top: bool = False) -> Iterator[Wrong]:
        """Keys of a mapping; `path` is its dotted place in the schema, None below a value."""
        lines: dict[str, int] = {}
        for key, value in items(node):
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or not key.tag.endswith(":str"):
                shown = f"`{key.value}`" if isinstance(key, yaml.ScalarNode) else "this key"
                yield Wrong(line, f"{shown} is not read as text: put it in quotes")
                continue
            name = str(key.value)
            if name in lines:
                yield Wrong(line, f"{name} stands twice, in lines {lines[name]} and {line}: keep one")
                continue
            lines[name] = line
            if not (top and name == "defaults"):
                yield from self._entry(name, value, path, line)

    def _entry(self, name: str, value: yaml.Node, path: str | None, line: int) -> Iterator[Wrong]:
        inner = None if path is None else f"{path}.{name}" if path else name
        if inner is not None and "." in name:
            yield Wrong(line, f"{name} is one key with a dot in it, and no field; {_nested(name, inner)}")
            return
        if inner not in fields():
            inner = None
        if inner is not None and group_of(annotation_at(inner)) is not None:
            null = value.tag.endswith(":null") and fields()[inner].default is None
            if not isinstance(value, yaml.MappingNode) and not null:
                yield Wrong(line, f"{inner} is a set of fields: write each under it, indented, as `field: value`")
                return
        elif inner is not None and values_of(annotation_at(inner)) is not None:
            if not isinstance(value, yaml.MappingNode):
                yield Wrong(line, f"{inner} is a mapping: write each key under it, indented, as `key: value`")
                return
            inner = None
        elif inner is not None and isinstance(value, yaml.MappingNode) and _is_list(inner):
            yield Wrong(line, f"{inner} is a list: begin each item with a dash")
            return
        else:
            inner = None
        yield from self._value(value, inner)

    def _value(self, node: yaml.Node, path: str | None) -> Iterator[Wrong]:
        line = node.start_mark.line + 1
        if node.tag.rpartition(":")[2] not in _PLAIN or not node.tag.startswith("tag:yaml.org,2002:"):
            yield Wrong(line, f"the tag {node.tag} is not taken: write the plain value")
            return
        if isinstance(node, yaml.ScalarNode):
            if mentions_interpolation(node.value):
                yield Wrong(line, f"{node.value}: interpolations are not resolved; write the value itself")
            elif "${" in node.value and not _readable(node.value):
                yield Wrong(
                    line,
                    f"{node.value}: Hydra takes `${{` for an interpolation and cannot read this one; put the line "
                    "into a script of your own, and call that",
                )
            return
        if id(node) in self.open:
            yield Wrong(line, "an alias (`*name`) stands inside what it stands for: write the value out")
        if id(node) in self.walked:
            return
        self.walked.add(id(node))
        self.open.append(id(node))
        if isinstance(node, yaml.MappingNode):
            yield from self._mapping(node, path)
        else:
            for item in node.value:
                yield from self._value(item, None)
        self.open.pop()

    def _defaults(self, node: yaml.Node) -> Iterator[Wrong]:
        if not isinstance(node, yaml.SequenceNode):
            line = node.start_mark.line + 1
            yield Wrong(line, "defaults is a list: write `defaults:` and under it lines as `- override /model: NAME`")
            return
        for entry in node.value:
            line = entry.start_mark.line + 1
            if isinstance(entry, yaml.ScalarNode):
                if entry.value != "_self_" and not str(entry.value).startswith("/"):
                    yield from self._option(self.group, str(entry.value), line)
            elif isinstance(entry, yaml.MappingNode) and len(entry.value) == 1:
                ((key, value),) = entry.value
                yield from self._choice(key, value, line)
            else:
                yield Wrong(line, "an entry of defaults is one line, as `- override /model: NAME`")

    def _choice(self, key: yaml.Node, value: yaml.Node, line: int) -> Iterator[Wrong]:
        match = _ENTRY.fullmatch(str(key.value).strip())
        if match is None or not isinstance(value, yaml.ScalarNode):
            yield Wrong(line, f"`{key.value}` is no entry of defaults: write one as `- override /model: NAME`")
            return
        group, option = match["group"], str(value.value)
        if group not in groups():
            yield Wrong(line, f"{group} is no group of options: {did_you_mean(group, groups()) or _all_groups()}")
            return
        package = f"@_global_.{group}" if self.group != "recipe" else ""
        asked = f"override /{group}{package}"
        if not match["slash"] or "override" not in match["flags"] or (package and match["package"] != package):
            yield Wrong(line, f"`{key.value}: {option}` chooses nothing here: write `- {asked}: {option}`")
            return
        if not value.tag.endswith(":null"):
            yield from self._option(group, option, line)

    def _option(self, group: str, option: str, line: int) -> Iterator[Wrong]:
        known = options(group, self.config_dir)
        if option in known:
            self.chosen.append((group, option))
            return
        plain, nodes = split_cluster(option, known) if group == "cluster" else (option, None)
        if nodes is not None and plain in known:
            yield Wrong(
                line, f"{group}={option}: choose {plain} here, and set `cluster:` with `nodes: {nodes}` under it"
            )
            return
        guess = did_you_mean(option, known) or f"`python -m launcher catalogue {group}` lists what there is"
        yield Wrong(line, f"{group}={option}: there is no such option; {guess}")


def _is_list(path: str) -> bool:
    return any(get_origin(part) is list for part in alternatives(annotation_at(path)))


def _nested(name: str, path: str) -> str:
    """What to write in place of a key with dots."""
    head, _, tail = name.partition(".")
    if path in fields() or free_key(path)[1]:
        return f"write `{head}:` and under it `{tail}:`"
    if name in fields():
        return f"this file cannot set {name}: set it in a recipe, or type {name}=VALUE"
    return nearest(path) or "write each field under its group"


def _readable(text: str) -> bool:
    """Whether Hydra can carry a text with `${` in it."""
    try:
        parse_interpolation(text)
    except GrammarParseError:
        return False
    return True


def _all_groups() -> str:
    return "there is: " + ", ".join(groups())
