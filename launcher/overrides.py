"""The pre-check of a command: each override parsed by Hydra's own grammar and held against the schema.

Hydra stops at its first problem; here every word is looked at by itself, the bad ones are set aside with a message, and
what is left can be composed. Text fields take their value as typed: `data.path=$(x) y` needs no second layer of quotes.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conf.schema.fields import (
    alternatives,
    annotation_at,
    fields,
    free_key,
    group_of,
    is_text,
    nearest,
    values_of,
)
from conf.schema.problems import Problem, did_you_mean
from launcher.grammar import is_sweep, parse, spell, text_of
from launcher.options import groups, is_file, option_file, options, other_size, split_cluster

_INTERPOLATION = re.compile(r"\$\{\s*(oc\.|hydra:|now:)|\$\{\s*(" + "|".join(fields()).replace(".", r"\.") + r")\s*\}")


@dataclass(frozen=True)
class Value:
    """One field that the command sets, or one key of a free mapping that it deletes."""

    path: str
    value: Any
    delete: bool = False


@dataclass
class Checked:
    """A command after the pre-check."""

    choices: dict[str, str] = field(default_factory=dict)
    """Option chosen for each group that is named on the line."""
    values: list[Value] = field(default_factory=list)
    """Fields set, in order: the last one wins."""
    canonical: list[str] = field(default_factory=list)
    """The line as it is recorded: one spelling for what means the same; stock Hydra's grammar reads it."""
    problems: list[Problem] = field(default_factory=list)
    """Everything that was set aside."""
    invalid: set[str] = field(default_factory=set)
    """Groups and fields whose value was set aside; rules that read them have nothing to judge."""
    shorthand: int | None = None
    """Nodes named by cluster=NxKxGPU."""

    def refuse(self, path: str, message: str) -> None:
        """Set one word aside."""
        self.problems.append(Problem(path, message))
        self.invalid.add(path)


def check(words: Iterable[str], config_dir: Path | None = None) -> Checked:
    """Look at every override by itself. Never raises for what a person typed."""
    return join(check_word(word, config_dir) for word in words)


def check_word(word: str, config_dir: Path | None = None) -> Checked:
    """Look at one override. Never raises for what a person typed."""
    checked = Checked()
    _Word(word, checked, config_dir).take()
    return checked


def join(parts: Iterable[Checked]) -> Checked:
    """Several overrides, each looked at by itself, as one command."""
    checked = Checked()
    for part in parts:
        doubled = _add_choices(checked, part)
        checked.values += part.values
        checked.canonical += [word for word in part.canonical if word.partition("=")[0] not in doubled]
        checked.problems += part.problems
        checked.invalid |= part.invalid
        checked.shorthand = checked.shorthand if part.shorthand is None else part.shorthand
    given = [value.value for value in checked.values if value.path == "cluster.nodes"]
    if checked.shorthand is not None and given[-1] != checked.shorthand:
        checked.refuse(
            "cluster.nodes", f"cluster.nodes={given[-1]} contradicts cluster={checked.shorthand}x...: keep one of them"
        )
    return checked


def _add_choices(checked: Checked, part: Checked) -> set[str]:
    """Take over what a part chooses; gives the groups that were chosen before."""
    doubled = set(checked.choices) & set(part.choices)
    for group, option in part.choices.items():
        before = checked.choices.setdefault(group, option)
        if before != option:
            checked.refuse(group, f"{group} is chosen twice, {before} and {option}: keep one")
    return doubled


class _Word:
    """One override on its way into a Checked."""

    def __init__(self, word: str, checked: Checked, config_dir: Path | None) -> None:
        self.word = word
        self.checked = checked
        self.config_dir = config_dir
        self.delete = word.startswith("~")
        key, self.equals, self.raw = word.partition("=")
        self.key = key.strip().lstrip("+~")

    def take(self) -> None:
        """Find out what the word is about, and pass it on."""
        key = self.key
        if not self.equals and not self.delete:
            hint = f"verbs come first, as `python -m launcher {key} ...`" if key.isalpha() else "write key=value"
            self.checked.problems.append(Problem(key, f"{self.word!r} sets nothing: {hint}"))
        elif not key:
            self.checked.problems.append(Problem(self.word, f"{self.word!r} names no field: write key=value"))
        elif key.partition(".")[0].partition("/")[0] == "hydra":
            self.checked.problems.append(
                Problem(key, "Hydra's own job settings have no effect here: run folders lie under run.root")
            )
        elif "@" in key or "/" in key:
            plain = key.partition("@")[0].strip("/")
            self.checked.problems.append(
                Problem(key, f"packages are not chosen on the command line: write {plain}={self.raw}")
            )
        elif self.delete:
            self._delete()
        elif key in groups() and not self.raw.lstrip().startswith("{"):
            self._choose()
        elif key in groups() and key not in fields():
            self.checked.refuse(key, f"{self.word} is not an option: {self._which_option('')}")
        else:
            self._set()

    def _delete(self) -> None:
        _, name = free_key(self.key)
        if name and not self.equals:
            self.checked.values.append(Value(self.key, None, delete=True))
            self.checked.canonical.append("~" + self.key)
        else:
            known = " or ".join(path for path, info in fields().items() if values_of(info.annotation) is not None)
            self.checked.problems.append(
                Problem(
                    self.key,
                    f"{self.word} deletes nothing: ~KEY takes a key out of {known}; a field is set, not deleted",
                )
            )

    def _choose(self) -> None:
        group, option = self.key, self.raw.strip()
        known = options(group, self.config_dir)
        option = text_of(parse(f"{group}={option}"), option, str) or option
        nodes = None
        if is_file(group, option):
            file = option_file(group, option)
            if file is None:
                self.checked.refuse(group, self._no_file(option))
                return
            option = str(file)
            known = [option]
        if group == "cluster":
            option, nodes = split_cluster(option, known)
        if option.lower() in ("null", "none") and option not in known and groups()[group].default is None:
            if groups()[group].mandatory:
                self.checked.refuse(group, f"{group} is needed: {self._which_option('')}")
            return
        if option not in known:
            self.checked.refuse(group, self._no_option(option, known))
            return
        self.checked.choices[group] = option
        self.checked.canonical.append(f"{group}={spell(group, option, option)}")
        if nodes is not None:
            self.checked.shorthand = nodes
            self.checked.values.append(Value("cluster.nodes", nodes))
            self.checked.canonical.append(f"cluster.nodes={nodes}")

    def _no_file(self, option: str) -> str:
        path = Path(option).expanduser().absolute()
        beside = [str(Path(option).with_name(file.name)) for file in path.parent.glob("*.y*ml") if file.is_file()]
        names = ", ".join(options(self.key, self.config_dir))
        guess = did_you_mean(option, beside) if beside else f"give the path of a file, or a recipe by name: {names}"
        return f"{self.key}={option}: there is no file {path}; {guess}"

    def _no_option(self, option: str, known: list[str]) -> str:
        if is_sweep(parse(f"{self.key}={option}")):
            return f"{self.word} names several options: {NO_SWEEPS}"
        size = other_size(option, known) if self.key == "cluster" else ""
        guess = f"for that size type {size}; or " if size else ""
        return f"{self.key}={self.raw.strip()}: there is no such option; {guess}{self._which_option(option)}"

    def _which_option(self, option: str) -> str:
        known = options(self.key, self.config_dir)
        return did_you_mean(option, known) or f"`ls {self.key}` in conf/ or --config-dir lists them"

    def _set(self) -> None:
        path = self.key
        try:
            annotation = annotation_at(path)
        except KeyError:
            self.checked.problems.append(Problem(path, f"{path} is no field or option group; {self._nearest(path)}"))
            return
        parsed = parse(f"{path}={self.raw}")
        text = is_text(annotation) or (isinstance(parsed, str) and str in alternatives(annotation))
        if is_sweep(parsed):
            listed = group_of(annotation) is None and any(_is_list(part) for part in alternatives(annotation))
            one = f"{path}=[{self.raw}]" if listed else f"'{path}=\"{self.raw}\"'"
            what = "a list is written in brackets" if listed else "to give one value with commas in it, quote it"
            self.checked.refuse(path, f"{self.word} is a sweep: {NO_SWEEPS}; {what}: {one}")
            return
        if text:
            value = text_of(parsed, self.raw, annotation)
        elif isinstance(parsed, str):
            self.checked.refuse(path, f"{path}={self.raw}: the value cannot be read ({parsed})")
            return
        else:
            value = parsed.value()
        if mentions_interpolation(value):
            self.checked.refuse(
                path,
                f"{path}={self.raw}: interpolations are not resolved; type the value, or let your shell put it in",
            )
            return
        self.checked.canonical.append(f"{path}={spell(path, self.raw, value)}")
        self._spread(path, value)

    def _nearest(self, path: str) -> str:
        parent = path.rpartition(".")[0]
        info = fields().get(parent)
        if info is not None and group_of(info.annotation) is None:
            return f"{parent} holds a value, not fields"
        listed = f"explain {parent}" if info is not None else "catalogue"
        return nearest(path, groups()) or f"`python -m launcher {listed}` lists what there is"

    def _spread(self, path: str, value: Any) -> None:
        """Set a value; a mapping given to a group or a free mapping sets each of its keys."""
        annotation = annotation_at(path)
        whole = group_of(annotation) is not None or values_of(annotation) is not None
        if not whole or not isinstance(value, dict):
            if group_of(annotation) is not None and value is not None:
                self.checked.refuse(path, f"{path}={self.raw}: {path} is a set of fields; {_members(path)}")
                return
            self.checked.values.append(Value(path, value))
            return
        for key, part in value.items():
            inner = f"{path}.{key}"
            try:
                annotation_at(inner)
            except KeyError:
                self.checked.problems.append(Problem(inner, f"{inner} is no field; {self._nearest(inner)}"))
            else:
                self._spread(inner, part)


NO_SWEEPS = "sweeps over several values begin with -m: add it, or give one value"


def _is_list(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", None) is list


def mentions_interpolation(value: Any) -> bool:
    """Whether a text asks for a value that Hydra would put in: none is, neither on the line nor in files."""
    return isinstance(value, str) and _INTERPOLATION.search(value) is not None


def _members(path: str) -> str:
    return "set them one by one, as " + ", ".join([name for name in fields() if name.rpartition(".")[0] == path][:3])
