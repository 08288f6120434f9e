"""How `explain` prints what it found."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from launcher import report
from launcher.described import first_sentence
from launcher.validate import show as typed

SHOWN = 12
"""Options that are listed where many set a field; --json has all."""


def show(document: Mapping[str, Any]) -> None:
    """Print a document of `explain` for people, on stdout."""
    {"field": _field, "group": _group, "option": _option, "rule": _rule}[document["kind"]](document)


def _field(document: Mapping[str, Any]) -> None:
    identity = "yes: another value is another run" if document["identity"] else "no: a run may go on with another value"
    rows = [("type", document["type"])]
    if document["allowed"]:
        rows = [
            ("allowed", ", ".join(map(typed, document["allowed"])) + (", null" * document["type"].endswith("null")))
        ]
    default = "none: a value is needed" if document["required"] else _value(document["default"])
    rows += [("default", default), ("identity", identity)]
    _head(document["field"], document["says"])
    _grid(rows)
    _setters(document["set_by"])
    _rules(document["rules"])


def _setters(setters: list[Mapping[str, Any]]) -> None:
    if not setters:
        return
    by_file = len(setters) <= SHOWN
    shown = setters if by_file else setters[:SHOWN]
    _title("set by")
    _grid([(entry["file"], _value(entry["value"])) for entry in shown])
    if not by_file:
        print(f"  ... and {len(setters) - SHOWN} more: --json lists all")


def _rules(rules: list[Mapping[str, Any]]) -> None:
    if rules:
        _title("rules")
        _grid([(rule["id"], _rule_line(rule)) for rule in rules])


def _rule_line(rule: Mapping[str, Any]) -> str:
    return f"{rule['severity']}: {rule['reason']}" + (f". Fix: {rule['fix']}" if rule["fix"] else "")


def _group(document: Mapping[str, Any]) -> None:
    says, about = document["says"], document["about"]
    says = about if about.startswith(says.rstrip(".")) else f"{says} {about}".strip()
    _head(document["group"] + ("[]" if document["list"] else ""), says)
    if document["mandatory"]:
        print("  a run must choose one")
    elif document["default"]:
        print(f"  default: {document['group']}={document['default']}")
    if document["fields"]:
        _title("fields of each item" if document["list"] else "fields")
        _grid([(entry["field"].rpartition(".")[2], first_sentence(entry["says"])) for entry in document["fields"]])
    if document["options"]:
        _title("options")
        _grid([(entry["option"], entry["says"]) for entry in document["options"]])
    _rules(document.get("rules", []))


def _option(document: Mapping[str, Any]) -> None:
    _head(document["option"], document["says"])
    rows = [("file", document["file"])]
    rows += [("chooses", f"{group}={option}") for group, option in document["chooses"].items()]
    _grid(rows)
    if document["sets"]:
        _title("sets")
        _grid([(path, _value(value)) for path, value in document["sets"].items()])


def _rule(document: Mapping[str, Any]) -> None:
    rule = document["rule"]
    _head(f"{rule['id']} ({rule['severity']})", rule["reason"])
    rows = [("fix", rule["fix"]), ("without it", rule["fails"]), ("reads", ", ".join(rule["reads"]))]
    _grid([row for row in rows if row[1]])


def _value(value: Any) -> str:
    return '""' if value == "" else str(value) if isinstance(value, list | dict) else typed(value)


def _head(name: str, says: str) -> None:
    console = Console(highlight=False)
    console.print(Text(report.one_line(name), style="bold"))
    console.print(Text(report.one_line(says)))
    print()


def _title(text: str) -> None:
    print()
    Console(highlight=False).print(Text(text, style="bold"))


def _grid(rows: Iterable[tuple[str, str]]) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row("", Text(report.one_line(name)), Text(report.one_line(text)))
    Console(highlight=False).print(table)
