"""The config of a run that goes on: what it was frozen with, and the operational fields that are typed now."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from conf.folder import RunFolder
from conf.schema.identity import identity_fields
from launcher.options import groups
from launcher.overrides import Checked, Value, check
from launcher.resolve import Resolved, compose_known, judge, set_values

_SIZES = ("cluster.nodes", "cluster.devices_per_node")


def resolve_again(folder: RunFolder, words: Sequence[str], config_dir: Path | None = None) -> Resolved:
    """The config of a resume. Nothing is composed again but the groups named now: YAML files may have changed since.

    Identity fields stay as they were derived then; what depends on the world (accumulation, layout) is derived anew.
    Raises ConfigProblems with all that is wrong; whether the identity changed is for the freeze to judge."""
    checked = check(words, config_dir)
    if checked.choices.pop("recipe", None):
        checked.refuse("recipe", "a run that goes on takes no recipe: it is a run of its own")
    tree: dict[str, Any] = folder.manifest()["composed"]
    _keep_identity(tree, folder.config().dump())
    before: list[str] = yaml.load(folder.overrides_file.read_bytes(), Loader=yaml.CSafeLoader) or []
    if checked.choices:
        _replace_groups(tree, checked, before, config_dir)
    set_values(tree, checked.values)
    resolved = judge(tree, checked)
    return replace(resolved, overrides=_merge(before, resolved.overrides))


def _keep_identity(tree: dict[str, Any], frozen: dict[str, Any]) -> None:
    def at(path: str) -> Any:
        node: Any = frozen
        for part in path.split("."):
            node = node[part]
        return node

    set_values(tree, [Value(path, at(path)) for path in identity_fields()])


def _replace_groups(tree: dict[str, Any], checked: Checked, before: list[str], config_dir: Path | None) -> None:
    """Put newly chosen options in the place of the old, and the fields typed then on top of them."""
    stand_ins = {group.name for group in groups().values() if group.mandatory and group.name not in checked.choices}
    probe = Checked(choices=dict(checked.choices), invalid=set(stand_ins))
    composed, _ = compose_known(probe, config_dir)
    checked.problems += probe.problems
    names = set(checked.choices) | ({"gpu"} if "cluster" in checked.choices else set())
    for name in names & tree.keys():
        tree[name] = composed[name]
    typed = check(before).values
    set_values(tree, [value for value in typed if value.path.partition(".")[0] in names and value.path not in _SIZES])


def _merge(before: Sequence[str], now: Sequence[str]) -> tuple[str, ...]:
    """Both lines as one: a field typed now replaces the one typed before, a new cluster also the sizes of the old."""
    keys = {word.lstrip("~").partition("=")[0] for word in now}
    gone = keys | (set(_SIZES) if "cluster" in keys else set())
    return (*(word for word in before if word.lstrip("~").partition("=")[0] not in gone), *now)
