"""The new recipe: its text, and whether it stands up to the schema and the rules."""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from conf.folder import write_whole
from conf.schema.fields import fields as schema_fields
from conf.schema.problems import ConfigProblems, Problem
from conf.schema.run import RunConfig
from launcher.axolotl.sheet import Sheet
from launcher.options import groups
from launcher.resolve import resolve

_ELSEWHERE = ("data-path", "model-id")
"""Rules that look at what lies on the machine: an import may be made elsewhere."""


@dataclass(frozen=True)
class Tried:
    """A recipe that was composed with a cluster."""

    config: RunConfig | None
    """None where there are problems."""
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def tree(sheet: Sheet) -> dict[str, Any]:
    """The recipe's values as nested mappings, groups in the order of the root's defaults list."""
    found: dict[str, Any] = {}
    order = [*groups(), "batch", "precision", "checkpoint", "evaluation", "seed"]
    known = list(schema_fields())
    ranked = sorted(sheet.fields, key=lambda path: (order.index(path.partition(".")[0]), known.index(_field(path))))
    for path in ranked:
        *parents, last = path.split(".")
        node = found
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = sheet.fields[path]
    return found


def _field(path: str) -> str:
    """The field of the schema that a path lies in; a key of a free mapping has none of its own."""
    return path if path in schema_fields() else path.rpartition(".")[0]


class _Dumper(yaml.SafeDumper):
    """Blocks of text as people write them, lists within lines where they are short."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    lines = text.split("\n")
    block = (
        len(lines) > 3
        and not any(line != line.rstrip() or "\t" in line for line in lines)
        and not text.startswith((" ", "\n"))
    )
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if block else None)


def _number(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    text = repr(value)
    if "e" in text:
        mantissa, exponent = text.split("e")
        text = (
            f"{mantissa if '.' in mantissa else mantissa + '.0'}e{exponent if exponent[0] in '+-' else '+' + exponent}"
        )
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


def _sequence(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.SequenceNode:
    plain = all(not isinstance(item, dict | list) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=plain and len(str(items)) < 90)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(float, _number)
_Dumper.add_representer(list, _sequence)


def render(sheet: Sheet, left_out: list[str]) -> str:
    """The recipe's file. `left_out` are the keys that it goes without."""
    lines = ["# @package _global_", f"# Imported from the Axolotl recipe {_inert(Path(sheet.source.name).name)}."]
    if left_out:
        lines += ["# Left out, since there is nothing like it here:", *(f"#   {_inert(key)}" for key in left_out)]
    lines.append("defaults:")
    order = list(groups())
    for group, option in sorted(sheet.choices.items(), key=lambda choice: order.index(choice[0])):
        lines.append(f"  - override /{group}: {option}")
    body = yaml.dump(tree(sheet), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=116)
    return "\n".join(lines) + "\n\n" + re.sub(r"\n(?=[a-z])", "\n\n", body)


def _inert(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def try_out(text: str, cluster: str) -> Tried:
    """Compose a recipe with a cluster and hold it against the schema and every rule."""
    with tempfile.TemporaryDirectory(prefix="slurmwright-import-") as folder:
        file = Path(folder) / "imported.yaml"
        write_whole(file, text)
        try:
            resolved = resolve([f"recipe={file}", f"cluster={cluster}"])
        except ConfigProblems as error:
            found = [problem for problem in error.problems if not _is_elsewhere(problem)]
            errors = tuple(problem for problem in found if not problem.warning)
            return Tried(None, errors, tuple(problem for problem in found if problem.warning))
    return Tried(resolved.config, (), resolved.warnings)


def _is_elsewhere(problem: Problem) -> bool:
    """Whether a problem is of files that may lie on another machine."""
    return problem.rule in _ELSEWHERE or (
        problem.field.startswith(("data.path", "data.eval_path", "data.sets", "data.eval_sets", "model.id"))
        and re.search(r"no such file|does not exist|is no file|cannot be (found|read)|there is no", problem.message)
        is not None
    )
