"""The options of every group as their files say them: what each is, what it sets, and who sets a field."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conf.schema.fields import annotation_at, group_of
from launcher.options import CONF, groups, option_file, options
from launcher.yaml_files import Unreadable, first_line, read_values


@dataclass(frozen=True)
class Entry:
    """One option of a group."""

    group: str
    name: str
    file: Path

    @property
    def says(self) -> str:
        """What the option is, in a line: the first comment of its file."""
        return first_line(self.file)

    @property
    def place(self) -> str:
        """The file as people know it: beside the rooms where it is shipped."""
        return str(self.file.relative_to(CONF.parent)) if self.own is False else str(self.file)

    @property
    def own(self) -> bool:
        """Whether it is the user's own."""
        return not self.file.is_relative_to(CONF)

    def values(self) -> dict[str, Any]:
        """The file's tree but for its defaults list; empty where it cannot be read."""
        try:
            read = read_values(self.file)
        except (Unreadable, OSError):
            return {}
        return {key: value for key, value in read.items() if key != "defaults"}

    def chooses(self) -> dict[str, str]:
        """Options of other groups that the file chooses in its defaults list."""
        try:
            listed = read_values(self.file).get("defaults") or []
        except (Unreadable, OSError):
            return {}
        pairs = [pair for entry in listed if isinstance(entry, dict) for pair in entry.items()]
        return {str(key).partition("/")[2].partition("@")[0]: str(option) for key, option in pairs}

    def sets(self) -> dict[str, Any]:
        """Every field that the file sets, by dotted path."""
        return dict(_flat(self.values(), "" if self.group == "recipe" else self.group))


def entries(group: str, config_dir: Path | None = None) -> list[Entry]:
    """The options of a group in the order of their names, the user's own among them."""
    found = ((name, option_file(group, name, config_dir)) for name in options(group, config_dir))
    return [Entry(group, name, file) for name, file in found if file is not None]


def setters(path: str, config_dir: Path | None = None) -> Iterator[tuple[Entry, Any]]:
    """The options that set a field, each with its value: those of the field's group, and recipes."""
    group = path.partition(".")[0]
    for name in dict.fromkeys([group, "recipe"]):
        for entry in entries(name, config_dir) if name in groups() else ():
            values = entry.sets()
            if path in values:
                yield entry, values[path]


def _flat(tree: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        inner = f"{path}.{key}" if path else str(key)
        try:
            nested = isinstance(value, Mapping) and group_of(annotation_at(inner)) is not None
        except KeyError:
            nested = False
        if nested:
            yield from _flat(value, inner)
        else:
            yield inner, value
