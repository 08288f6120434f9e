"""The whole way from words to a checked config: pre-check, compose, set fields, validate, derive, rules.

Every step sets aside what is wrong and goes on with the rest, so that one report holds all there is to say.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from conf.folder import RunFolder
from conf.schema.derive import derive
from conf.schema.fields import steps_to
from conf.schema.identity import digest_of, identity, run_id
from conf.schema.problems import ConfigProblems, Problem
from conf.schema.rules import check as check_rules
from conf.schema.run import RunConfig
from launcher.compose import COMPOSITION_ERRORS, compose_tree, line_of, sources
from launcher.options import CONF, groups, is_file, option_file, options
from launcher.overrides import Checked, Value, check
from launcher.own_files import check_files, check_folder
from launcher.validate import Places, validate
from launcher.yaml_files import Unreadable, line_in, read_node

_UNCHOSEN = re.compile(r"You must specify '(\w+)'")


@dataclass(frozen=True)
class Resolved:
    """A command that can be carried out."""

    config: RunConfig
    """Derived and checked."""
    composed: RunConfig
    """The same before anything was derived: what a later resume starts from."""
    overrides: tuple[str, ...]
    """The command in canonical spelling."""
    warnings: tuple[Problem, ...]
    """What may go on all the same."""

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The run's identity."""
        return identity(self.config)

    @cached_property
    def digest(self) -> str:
        """Of the identity."""
        return digest_of(self.identity)

    @cached_property
    def folder(self) -> RunFolder:
        """Where the run lies, or will lie."""
        return RunFolder(f"{self.config.run.root}/{run_id(self.config, self.digest)}")


def resolve(words: Sequence[str], config_dir: Path | None = None) -> Resolved:
    """The config that a command says. Raises ConfigProblems, with every problem and warning, where it is wrong."""
    checked = check(words, config_dir)
    tree, choices = compose_known(checked, config_dir)
    set_values(tree, checked.values)
    own = config_dir is not None or is_file("recipe", choices.get("recipe", ""))
    return judge(tree, checked, places(checked, lines(choices, config_dir)), own)


def compose_known(checked: Checked, config_dir: Path | None) -> tuple[dict[str, Any], dict[str, str]]:
    """Compose what was chosen; stand-ins take the place of what was not or could not be, and are marked invalid."""
    choices = dict(checked.choices)
    if config_dir is not None:
        checked.problems += check_folder(config_dir)
    unusable = list(check_files(choices, config_dir))
    if unusable:
        checked.problems += unusable
        checked.invalid.update(groups())
        return RunConfig().dump(), choices
    if "recipe" in checked.invalid:
        checked.invalid.update(groups())  # it would have chosen some of them
    for group in groups().values():
        if group.mandatory and group.name in checked.invalid:
            choices.setdefault(group.name, options(group.name)[0])
    for _ in groups():
        try:
            tree = compose_tree(choices, config_dir)
            break
        except COMPOSITION_ERRORS as error:
            missing = _UNCHOSEN.search(str(error))
            if missing is None:
                checked.problems.append(_uncomposable(error, choices, config_dir))
                checked.invalid.update(groups())
                return RunConfig().dump(), choices
            name = missing[1]
            checked.refuse(name, f"no {name} is chosen: add {name}=NAME; there is: {_some(options(name, config_dir))}")
            choices[name] = options(name)[0]
    if "cluster" in checked.invalid and "gpu" not in checked.choices:
        checked.invalid.add("gpu")  # chosen by the cluster
    return tree, choices


def set_values(tree: dict[str, Any], values: Iterable[Value]) -> None:
    """Set single fields in a tree, in order."""
    for entry in values:
        *parents, last = steps_to(entry.path)
        node = tree
        for parent in parents:
            if not isinstance(node.get(parent), dict):
                node[parent] = {}
            node = node[parent]
        if entry.delete:
            node.pop(last, None)
        else:
            node[last] = entry.value


def judge(
    tree: dict[str, Any], checked: Checked, places: Places = lambda path, steps=(): "", own: bool = False
) -> Resolved:
    """Validate, derive and check a tree; ConfigProblems where anything is wrong.

    `places` names the file of a value; `own` says that files of the user's own may be among them."""
    unset = [path for path, value in _leaves(tree, "") if value == "???"]
    composed, refused = validate(tree, places)
    refused = [
        Problem(problem.field, f"{problem.field} is not given: add {problem.field}=VALUE")
        if problem.field in unset
        else problem
        for problem in refused
    ]
    refused += [
        Problem(path, f"{path} is not given: add {path}=VALUE")
        for path in unset
        if path not in {problem.field for problem in refused}
    ]
    config = derive(composed)
    invalid = checked.invalid | {problem.field for problem in refused}
    ruled = check_rules(config, frozenset(invalid))
    if own:
        ruled = [_placed(problem, places) for problem in ruled]
    found = [*checked.problems, *refused, *ruled]
    if any(not problem.warning for problem in found):
        raise ConfigProblems(found)
    return Resolved(config, composed, tuple(checked.canonical), tuple(ConfigProblems(found).problems))


def _placed(problem: Problem, places: Places) -> Problem:
    """A rule's problem with the line that it is about, where that is in a file of the user's own."""
    place = places(problem.field)
    if not place or Path(place.rpartition(":")[0]).is_relative_to(CONF):
        return problem
    return replace(problem, message=f"{problem.message} ({place})")


def _leaves(node: Any, path: str) -> Iterable[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, node


def lines(choices: dict[str, str], config_dir: Path | None) -> Places:
    """A function that names the YAML line of a value among the chosen options, "" where there is none. It looks once
    for each."""
    listed = cache(lambda: sources(choices, config_dir))

    @cache
    def line(path: str, steps: tuple[str | int, ...]) -> str:
        try:
            return line_of(path, listed(), steps)
        except COMPOSITION_ERRORS:
            return ""

    def place(path: str, steps: Sequence[str | int] = (), /) -> str:
        return line(path, tuple(steps))

    return place


def places(checked: Checked, written: Places) -> Places:
    """The same, but "" for what was typed on the command line."""
    typed = {entry.path for entry in checked.values}

    def place(path: str, steps: Sequence[str | int] = (), /) -> str:
        if any(path == name or path.startswith(name + ".") for name in typed):
            return ""
        return written(path, steps)

    return place


def _uncomposable(error: Exception, choices: dict[str, str], config_dir: Path | None) -> Problem:
    """Options that Hydra cannot read or combine: its own first sentence, and the files of the user that took part."""
    own = []
    for group, option in choices.items():
        file = option_file(group, option, config_dir)
        if file is not None and not file.is_relative_to(CONF):
            own.append((group, f"{file}:{_line_of_error(error, file, group)}"))
    said = " ".join(str(error).split())[:400]
    where = f" (look into {', '.join(place for _, place in own)})" if own else ""
    field = own[0][0] if own else next(iter(choices), "conf")
    return Problem(field, f"the chosen options cannot be composed: {said}{where}")


def _line_of_error(error: Exception, file: Path, group: str) -> int:
    """The line that OmegaConf complains of, else that of the defaults list, which Hydra complains of."""
    parts = str(getattr(error, "full_key", None) or "").split(".")
    try:
        node = read_node(file)
    except Unreadable as unreadable:
        return unreadable.line
    return (
        line_in(node, parts)
        or line_in(node, parts[1:] if parts[0] == group else parts)
        or line_in(node, ["defaults"])
        or 1
    )


def _some(names: list[str]) -> str:
    """All names of a short list; of a long one its shortest, which are the plainest, and a sample of the others."""
    if len(names) <= 12:
        return ", ".join(names)
    plain = sorted(names, key=len)[:2]
    others = [name for name in names if name not in plain]
    return f"{len(names)} of them, as " + ", ".join([*plain, *others[:: -(-len(others) // 7)]])
