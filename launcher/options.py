"""Option groups and their options: read from the root's defaults list and from the folders of YAML files."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from launcher import ROOT
from launcher.yaml_files import read_values

CONF = ROOT / "conf"
"""Folder of the shipped option groups."""
_SHORTHAND = re.compile(r"(?P<nodes>\d+)x(?P<option>\d+x.+)")


@dataclass(frozen=True)
class OptionGroup:
    """One group of the root's defaults list."""

    name: str
    default: str | None
    """Option taken where none is given; None for an optional group."""
    mandatory: bool = False
    """Whether a run must choose one."""


@cache
def groups() -> dict[str, OptionGroup]:
    """The option groups, in the order of the root's defaults list."""
    found = {}
    for entry in read_values(CONF / "config.yaml")["defaults"]:
        if isinstance(entry, dict):
            ((key, default),) = entry.items()
            name = key.removeprefix("optional ")
            missing = default == "???"
            found[name] = OptionGroup(name, None if missing else default, missing)
    return found


def options(group: str, config_dir: Path | None = None) -> list[str]:
    """The options of a group: shipped ones and those of the user's folder."""
    own = _in_folder(config_dir / group) if config_dir is not None else frozenset()
    return sorted(_shipped(group) | own)


@cache
def _shipped(group: str) -> frozenset[str]:
    return _in_folder(CONF / group)


def _in_folder(folder: Path) -> frozenset[str]:
    return frozenset(str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml"))


def is_file(group: str, option: str) -> bool:
    """Whether an option is given as the path of its file, which a recipe may be: `recipe=any/where.yaml`."""
    return group == "recipe" and option.endswith((".yaml", ".yml"))


def option_file(group: str, option: str, config_dir: Path | None = None) -> Path | None:
    """The file of an option, None where there is none. A shipped option stands before one of the user's own."""
    if is_file(group, option):
        path = Path(option).expanduser().absolute()
        return path if path.is_file() else None
    for root in (CONF, config_dir):
        if root is not None and (root / group / f"{option}.yaml").is_file():
            return root / group / f"{option}.yaml"
    return None


def split_cluster(option: str, known: list[str]) -> tuple[str, int | None]:
    """`2x8xh100` as ("8xh100", 2); any other option, and one that has a file of its own, as (option, None)."""
    match = _SHORTHAND.fullmatch(option)
    if match is None or option in known:
        return option, None
    return match["option"], int(match["nodes"])


def other_size(option: str, known: list[str]) -> str:
    """What to type for K devices where only other sizes of the same GPU are shipped, as `3xh100`; "" where none is."""
    count, _, gpu = option.partition("x")
    if not gpu or not count.isdigit():
        return ""
    sizes = sorted((int(name.partition("x")[0]), name) for name in known if name.partition("x")[2] == gpu)
    larger = [name for size, name in sizes if size > int(count)]
    if not larger or int(count) == 0:
        return ""
    return f"cluster={larger[0]} cluster.devices_per_node={int(count)}"
