"""The verb `explain`: what a field, a group, an option or a rule is, from the schema, the files and the rules."""

import difflib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from conf.schema.fields import fields, free_key, group_of, item_fields, item_of, nearest
from conf.schema.identity import identity_fields
from conf.schema.problems import did_you_mean
from conf.schema.rules.registry import RULES, Rule
from launcher import explained, report
from launcher.arguments import Parser
from launcher.described import allowed_of, as_typed, default_of, meaning_of, type_of
from launcher.entries import Entry, entries, setters
from launcher.errors import InputError
from launcher.options import groups, options, split_cluster

_USAGE = "explain a field (adapter.r), a group (adapter), an option (adapter=qlora) or a rule (batch-arithmetic)"


def main(arguments: Sequence[str]) -> int:
    """`python -m launcher explain FIELD|GROUP|GROUP=OPTION|RULE [--json]`. Gives the exit code."""
    parser = Parser("explain", "What a field, a group, an option or a rule is.", runs=False)
    parser.add_argument("what", nargs="*", help="adapter.r, adapter, adapter=qlora, or batch-arithmetic")
    read, config_dir = parser.read_options(arguments)
    if len(read.what) != 1:
        raise InputError(f"{_USAGE}; `python -m launcher catalogue` lists groups and options")
    document = explain(read.what[0], config_dir)
    if read.json:
        report.document(document)
    else:
        explained.show(document)
    return 0


def explain(what: str, config_dir: Path | None = None) -> dict[str, Any]:
    """What a word means, as a document with a `kind`: field, group, option or rule. InputError for an unknown one."""
    word = what.strip().lstrip("+~")
    if "=" in word:
        group, _, option = word.partition("=")
        return _option(group.strip(), option.strip(), config_dir)
    path = _item_path(word)
    found = _all_fields()
    if path not in found and free_key(path)[1]:
        path = free_key(path)[0]
    if path in groups() or (path in found and (group_of(found[path].annotation) or item_of(found[path].annotation))):
        return _group(path, config_dir)
    if path in found:
        return _field(path, config_dir)
    if word in RULES:
        return {"kind": "rule", "rule": rule_record(RULES[word])}
    raise InputError(f"{what}: there is nothing of that name to explain; {_guess(word, config_dir)}")


def rule_record(rule: Rule) -> dict[str, Any]:
    """A rule as JSON has it."""
    return {
        "id": rule.id,
        "severity": "warning" if rule.warning else "error",
        "reason": rule.reason,
        "fix": getattr(rule, "fix", ""),
        "fails": getattr(rule, "fails", ""),
        "reads": list(rule.reads),
    }


@cache
def _all_fields() -> dict[str, FieldInfo]:
    return {**fields(), **item_fields()}


def _item_path(word: str) -> str:
    """`data.sets[0].path`, `data.sets.0.path` and `data.sets.path` are all `data.sets[].path`."""
    plain = re.sub(r"\[\d*\]|\.\d+(?=\.|$)", "", word)
    if plain in fields():
        return plain
    for path in item_fields():
        if path.replace("[]", "") == plain:
            return path
    return word


def _field(path: str, config_dir: Path | None) -> dict[str, Any]:
    info = _all_fields()[path]
    return {
        "kind": "field",
        "field": path,
        "says": meaning_of(info),
        "type": type_of(info),
        "required": info.is_required(),
        "default": None if info.is_required() else default_of(info),
        "allowed": allowed_of(info),
        "identity": in_identity(path),
        "set_by": [
            {"option": f"{entry.group}={entry.name}", "file": entry.place, "value": value}
            for entry, value in setters(path, config_dir)
        ],
        "rules": [rule_record(rule) for rule in rules_of(path)],
    }


def rules_of(path: str) -> list[Rule]:
    """The rules that read a field, or something in it or around it."""
    plain = path.partition("[")[0]
    return [
        rule
        for rule in RULES.values()
        if any(plain == read or plain.startswith(read + ".") or read.startswith(plain + ".") for read in rule.reads)
    ]


def in_identity(path: str) -> bool:
    """Whether a field decides the result, and so the run's name; of a group: whether any of its fields does."""
    plain = path.partition("[")[0]
    return any(
        plain == name or plain.startswith(name + ".") or name.startswith(plain + ".") for name in identity_fields()
    )


def _group(path: str, config_dir: Path | None) -> dict[str, Any]:
    """A group, a set of fields within one, or a list of sets of fields."""
    found = _all_fields()
    info = found.get(path)
    item = item_of(info.annotation) if info is not None else None
    held = item or (group_of(info.annotation) if info is not None else None)
    head = f"{path}[]." if item else f"{path}."
    listed = [name for name in found if name.startswith(head) and not re.search(r"[.\[]", name.removeprefix(head))]
    says = (
        meaning_of(info) if info is not None else "Whole experiments: options of all groups, and values, in one file."
    )
    document: dict[str, Any] = {
        "kind": "group",
        "group": path,
        "says": says,
        "about": as_typed(" ".join((held.__doc__ or "").split())) if held else "",
        "list": item is not None,
        "default": groups()[path].default if path in groups() else None,
        "mandatory": path in groups() and groups()[path].mandatory,
        "identity": in_identity(path),
        "fields": [
            {
                "field": name,
                "type": type_of(found[name]),
                "default": None if found[name].is_required() else default_of(found[name]),
                "says": meaning_of(found[name]),
            }
            for name in listed
        ],
        "options": [
            {"option": f"{path}={entry.name}", "says": entry.says}
            for entry in (entries(path, config_dir) if path in groups() else ())
        ],
    }
    if item is not None:
        document["rules"] = [rule_record(rule) for rule in rules_of(path)]
    return document


def _option(group: str, option: str, config_dir: Path | None) -> dict[str, Any]:
    if group not in groups():
        if group in fields():
            raise InputError(f"{group}={option} sets a field: type `python -m launcher explain {group}`")
        raise InputError(f"{group} is no group of options; {did_you_mean(group, groups())}")
    known = options(group, config_dir)
    name, nodes = split_cluster(option, known) if group == "cluster" else (option, None)
    if name not in known:
        guess = did_you_mean(name, known) or f"`python -m launcher catalogue {group}` lists what there is"
        raise InputError(f"{group}={option}: there is no such option; {guess}")
    entry: Entry = next(entry for entry in entries(group, config_dir) if entry.name == name)
    sets = entry.sets() | ({"cluster.nodes": nodes} if nodes is not None else {})
    return {
        "kind": "option",
        "option": f"{group}={name}",
        "says": entry.says,
        "file": entry.place,
        "own": entry.own,
        "chooses": entry.chooses(),
        "sets": sets,
    }


def _guess(word: str, config_dir: Path | None) -> str:
    same = [f"{group}={word}" for group in groups() if word in options(group, config_dir)]
    if same:
        return f"did you mean {' or '.join(same)}?"
    if "." in word or any(path.endswith(f".{word}") for path in fields()):
        return nearest(word, groups()) or _USAGE
    named = [f"{group}={name}" for group in groups() for name in options(group, config_dir)]
    almost = difflib.get_close_matches(word, {name.partition("=")[2] for name in named}, n=1, cutoff=0.75)
    if almost:
        return f"did you mean {' or '.join(name for name in named if name.partition('=')[2] == almost[0])}?"
    close = did_you_mean(word, [*RULES, *groups(), *(path for path in fields() if "." not in path)])
    if close.startswith("did"):
        return close
    near = nearest(word, groups())
    return near if near.startswith("did") else _USAGE
