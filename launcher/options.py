"""Option groups and their options: read from the root's defaults list and from the folders of YAML files."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from launcher import ROOT

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
    root = yaml.safe_load((CONF / "config.yaml").read_text(encoding="utf-8"))
    found = {}
    for entry in root["defaults"]:
        if isinstance(entry, dict):
            ((key, default),) = entry.items()
            name = key.removeprefix("optional ")
            missing = default == "???"
            found[name] = OptionGroup(name, None if missing else default, missing)
    return found


def options(group: str, config_dir: Path | None = None) -> list[str]:
    """The options of a group: shipped ones and those of the user's folder."""
    names: set[str] = set()
    for root in (CONF, config_dir):
        if root is not None:
            folder = root / group
            names.update(str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml"))
    return sorted(names)


def split_cluster(option: str, known: list[str]) -> tuple[str, int | None]:
    """`2x8xh100` as ("8xh100", 2); any other option, and one that has a file of its own, as (option, None)."""
    match = _SHORTHAND.fullmatch(option)
    if match is None or option in known:
        return option, None
    return match["option"], int(match["nodes"])


def other_size(option: str, known: list[str]) -> str:
    """What to type for K devices where only other sizes of the same GPU are shipped, as `3xh100`; "" where none is."""
    count, _, gpu = option.partition("x")
    sizes = sorted((int(name.partition("x")[0]), name) for name in known if name.partition("x")[2] == gpu)
    larger = [name for size, name in sizes if count.isdigit() and size > int(count)]
    if not gpu or not larger or int(count) == 0:
        return ""
    return f"cluster={larger[0]} cluster.devices_per_node={int(count)}"
