"""The verb `catalogue`: every group and its options, a line each; models and devices with facts and sources."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conf.schema.problems import did_you_mean
from launcher import catalogue_pages, report
from launcher.arguments import Parser
from launcher.entries import Entry, entries
from launcher.errors import InputError
from launcher.options import groups


def main(arguments: Sequence[str]) -> int:
    """`python -m launcher catalogue [GROUP] [--json|--markdown]`. Gives the exit code."""
    parser = Parser("catalogue", "The groups and their options; of models and devices the facts too.", runs=False)
    parser.add_argument("group", nargs="?", help="one group, as model; none: all of them")
    parser.add_argument("--markdown", action="store_true", help="the page docs/catalogue.md")
    read, config_dir = parser.read_options(arguments)
    if read.group is not None and read.group not in groups():
        raise InputError(f"{read.group} is no group of options; {did_you_mean(read.group, groups())}")
    if read.json and read.markdown:
        raise InputError("--json and --markdown are two forms of the same: give one of them")
    document = catalogue([read.group] if read.group else list(groups()), config_dir)
    if read.json:
        report.document(document)
    elif read.markdown:
        print(catalogue_pages.markdown(document), end="")
    else:
        catalogue_pages.show(document)
    return 0


def catalogue(names: Sequence[str], config_dir: Path | None = None) -> dict[str, Any]:
    """The named groups, each with whether it must be chosen, its default, and its options."""
    return {
        "groups": [
            {
                "group": name,
                "mandatory": groups()[name].mandatory,
                "default": groups()[name].default,
                "options": [_record(entry) for entry in entries(name, config_dir)],
            }
            for name in names
        ]
    }


def _record(entry: Entry) -> dict[str, Any]:
    """An option: its name, what it says that it is, and the facts of a model or a device."""
    record: dict[str, Any] = {"option": entry.name, "says": entry.says, "own": entry.own}
    if entry.own:
        record["file"] = str(entry.file)
    if entry.group == "model":
        record |= _model(entry.values())
    elif entry.group == "gpu":
        facts = ("memory_gib", "bf16_tflops", "bandwidth_gb_s", "compute_capability", "source")
        record |= {fact: entry.values().get(fact) for fact in facts}
    return record


def _model(values: dict[str, Any]) -> dict[str, Any]:
    published, shape = _mapping(values.get("published")), _mapping(values.get("architecture"))
    return {
        "id": values.get("id"),
        "parameters": published.get("parameters", values.get("parameters")),
        "context": shape.get("max_position_embeddings"),
        "licence": values.get("licence"),
        "gated": values.get("gated", False),
        "unverified": published.get("unverified", False),
        "source": published.get("source"),
    }


def _mapping(value: Any) -> dict[str, Any]:
    """A part of a file, empty where the file has something else there: its checks say so, not the catalogue."""
    return value if isinstance(value, dict) else {}
