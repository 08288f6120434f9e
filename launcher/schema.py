"""The verb `schema`: JSON Schema (draft 2020-12) of a run's config, or of a group's option files, for editors."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conf.schema.fields import fields, group_of
from conf.schema.problems import did_you_mean
from conf.schema.run import RunConfig
from launcher.arguments import Parser
from launcher.described import as_typed
from launcher.errors import InputError
from launcher.options import groups, options

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def main(arguments: Sequence[str]) -> int:
    """`python -m launcher schema [GROUP] [--json]`: prints JSON with and without the flag. Gives the exit code."""
    parser = Parser("schema", "JSON Schema of a run's config, or of the option files of a group.", runs=False)
    parser.add_argument("group", nargs="?", help="a group, as adapter or recipe; none: the config of a run")
    read, config_dir = parser.read_options(arguments)
    known = groups()
    if read.group is not None and read.group not in known:
        guess = (
            f"it has no option files: set {read.group}.FIELD=VALUE, or in a recipe" if read.group in fields() else ""
        )
        raise InputError(f"{read.group} is no group of options; {guess or did_you_mean(read.group, known)}")
    document = of_run() if read.group is None else of_file(read.group, config_dir)
    print(json.dumps(document, indent=2, ensure_ascii=False))
    return 0


def of_run() -> dict[str, Any]:
    """The schema of a run's config.yaml: every field with its title, description, default and limits."""
    return {"$schema": DIALECT, **_in_words(RunConfig.model_json_schema(by_alias=True))}


def of_file(group: str, config_dir: Path | None = None) -> dict[str, Any]:
    """The schema of a group's option files: its fields, none of them required, and the defaults list before them."""
    info = fields().get(group)
    model = group_of(info.annotation) if info is not None else RunConfig
    assert model is not None, f"{group} is a group of options, so it holds fields"
    schema = _optional(_in_words(model.model_json_schema(by_alias=True)))
    title = (
        "A recipe: options of all groups, and values, in one file." if group == "recipe" else f"An option of {group}."
    )
    return {
        "$schema": DIALECT,
        **schema,
        "title": title,
        "properties": {"defaults": _defaults(group, config_dir), **schema["properties"]},
    }


def _defaults(group: str, config_dir: Path | None) -> dict[str, Any]:
    """The defaults list of a group's files, with the options that it may choose."""
    package = "" if group == "recipe" else "@_global_."
    choices = {
        f"override /{name}{package}{name if package else ''}": {
            "description": f"An option of {name}.",
            "anyOf": [{"enum": options(name, config_dir)}, {"type": "null"}],
        }
        for name in groups()
        if name not in (group, "recipe")
    }
    entry = {"type": "object", "properties": choices, "additionalProperties": False, "maxProperties": 1}
    return {
        "description": "Options that this file builds on or chooses, before its own values are laid over them.",
        "type": "array",
        "items": {"anyOf": [{"enum": [*options(group, config_dir), "_self_"]}, entry]},
    }


def _in_words(node: Any) -> Any:
    """The same schema with `null` for None in descriptions, which are read beside YAML."""
    if isinstance(node, Mapping):
        return {
            key: as_typed(value) if key == "description" and isinstance(value, str) else _in_words(value)
            for key, value in node.items()
        }
    return [_in_words(item) for item in node] if isinstance(node, list) else node


def _optional(node: Any) -> Any:
    """The same schema with nothing required: a file may build on another that sets the rest."""
    if isinstance(node, Mapping):
        return {key: _optional(value) for key, value in node.items() if not (key == "required" and _is_list(value))}
    return [_optional(item) for item in node] if isinstance(node, list) else node


def _is_list(value: Any) -> bool:
    return isinstance(value, list)
