"""The config of a run that goes on: what it was frozen with, and the operational fields that are typed now."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from conf.folder import RunFolder
from conf.schema.identity import identity_fields
from conf.schema.problems import ConfigProblems, Problem
from conf.schema.run import RunConfig
from launcher.options import groups
from launcher.overrides import Checked, Value, check
from launcher.resolve import Resolved, compose_known, judge, set_values

_SIZES = ("cluster.nodes", "cluster.devices_per_node")


def resolve_again(folder: RunFolder, words: Sequence[str], config_dir: Path | None = None) -> Resolved:
    """The config of a resume. Nothing is composed again but the groups named now: YAML files may have changed since.

    Identity fields stay as they were derived then, and the parallel layout as it is, whose checkpoints no other reads;
    what depends on the world (accumulation) is derived anew. Raises ConfigProblems with all that is wrong; whether the
    identity changed is for the freeze to judge."""
    checked = check(words, config_dir)
    if checked.choices.pop("recipe", None):
        checked.refuse("recipe", "a run that goes on takes no recipe: it is a run of its own")
    tree: dict[str, Any] = folder.manifest()["composed"]
    frozen = folder.config()
    _keep_identity(tree, frozen.dump())
    set_values(tree, [Value("parallel.strategy", frozen.parallel.strategy)])
    before: list[str] = yaml.load(folder.overrides_file.read_bytes(), Loader=yaml.CSafeLoader) or []
    if checked.choices:
        _replace_groups(tree, checked, before, config_dir)
    set_values(tree, checked.values)
    try:
        resolved = judge(tree, checked)
    except ConfigProblems as error:
        raise ConfigProblems(_with_workers(problem, tree["batch"]) for problem in error.problems) from None
    return replace(resolved, overrides=_merge(before, resolved.overrides))


def require_same_layout(folder: RunFolder, config: RunConfig) -> None:
    """Raise ConfigProblems where a run has checkpoints of another parallel layout: each has a format of its own."""
    before, asked = folder.config().parallel.strategy, config.parallel.strategy
    if before != asked and next(folder.checkpoints.glob("step-*"), None) is not None:
        message = (
            f"parallel={asked} cannot read the checkpoints of {folder.id}, which parallel={before} wrote: type "
            f"parallel={before}; another number of nodes or devices is no obstacle"
        )
        raise ConfigProblems([Problem("parallel.strategy", message, rule="layout-of-checkpoints")])


def _with_workers(problem: Problem, batch: Mapping[str, Any]) -> Problem:
    """What is wrong with a batch, with the numbers of workers that the run can have: its global batch stays."""
    if problem.rule != "batch-arithmetic" or problem.field != "batch.global":
        return problem
    total, micro, accumulation = (batch[name] for name in ("global", "micro", "accumulation"))
    share, rest = divmod(total, (micro or 1) * (accumulation or 1))
    fitting = [share] if micro and accumulation else [world for world in range(1, share + 1) if share % world == 0]
    fix = f"use nodes x devices = {' or '.join(map(str, fitting))}" if share and not rest else "leave batch.micro out"
    what = problem.message.rpartition(": use ")[0]
    return replace(problem, message=f"{what}: a run that goes on keeps its global batch, so {fix}")


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
