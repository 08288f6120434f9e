"""The catalogue as a person reads it: in a terminal, through a pipe, and as the page docs/catalogue.md."""

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from launcher import report

MODEL_COLUMNS = ("model", "parameters", "context", "notes", "licence", "what it is", "source")
GPU_COLUMNS = ("gpu", "memory", "bf16", "bandwidth", "capability", "source")
RIGHT = ("parameters", "context")
WIDE = 150
"""Columns of a terminal from which a model's facts have room in one line."""


def show(document: Mapping[str, Any]) -> None:
    """Print the catalogue, on stdout: in a terminal as wide as it is, through a pipe one line an option.

    All groups: a line on each option. One group: the facts of its models or devices too."""
    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=400)
    groups = document["groups"]
    for position, group in enumerate(groups):
        if position:
            console.print()
        console.print(Text.assemble((group["group"], "bold"), _chosen(group)))
        if not group["options"]:
            console.print("  there is none yet")
        elif len(groups) == 1 and group["group"] == "model" and console.width < WIDE:
            _print_models(console, group["options"])
        elif len(groups) == 1:
            _print_table(console, _columns(group), _rows(group))
        else:
            _print_table(console, (), [_plain_row(option) for option in group["options"]])


def _chosen(group: Mapping[str, Any]) -> str:
    if group["mandatory"]:
        return "  (a run must choose one)"
    return f"  (default: {group['default']})" if group["default"] else "  (none is chosen by default)"


def _print_table(console: Console, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(no_wrap=True)
    for name in columns[1:] or ("",):
        table.add_column(justify="right" if name in RIGHT else "left", overflow="fold")
    if len(columns) > 2:
        table.add_row("", *(Text(name, style="dim") for name in columns))
    for row in rows:
        table.add_row("", *(Text(report.one_line(cell)) for cell in row))
    with console.capture() as captured:
        console.print(table)
    # Cells are padded to the table's width: of no use at the end of a line.
    console.out("\n".join(line.rstrip() for line in captured.get().splitlines()), highlight=False)


def _print_models(console: Console, options: list[Mapping[str, Any]]) -> None:
    """Models where a line has no room: the facts, then what the model is and the source of its facts."""
    width = max(len(option["option"]) for option in options)
    console.print(Text(f"  {'model':{width}}  {'parameters':>10}  {'context':>7}  licence", style="dim"))
    for option in options:
        name, size, context, notes, licence, says, source = map(report.one_line, _model_row(option))
        console.print(Text(f"  {name:{width}}  {size:>10}  {context:>7}  {licence}".rstrip()))
        for text in (f"{notes}: {says}" if notes else says, source):
            if text:
                console.print(Padding(Text(text, style="dim", overflow="fold"), (0, 0, 0, 4), expand=False))


def _columns(group: Mapping[str, Any]) -> tuple[str, ...]:
    return {"model": MODEL_COLUMNS, "gpu": GPU_COLUMNS}.get(group["group"], (group["group"], "what it is"))


def _rows(group: Mapping[str, Any]) -> list[tuple[str, ...]]:
    row = {"model": _model_row, "gpu": _gpu_row}.get(group["group"], _plain_row)
    return [row(option) for option in group["options"]]


def _plain_row(option: Mapping[str, Any]) -> tuple[str, ...]:
    marks = ["unverified"] * bool(option.get("unverified")) + ([option["file"]] if option["own"] else [])
    return option["option"], option["says"] + (f" ({', '.join(marks)})" if marks else "")


def _model_row(option: Mapping[str, Any]) -> tuple[str, ...]:
    facts = option["parameters"], option["context"]
    size, context = (fact if isinstance(fact, int) else None for fact in facts)
    notes = [note for note in ("gated", "unverified") if option[note]]
    return (
        option["option"],
        report.human(size) if size else "",
        str(context) if context else "",
        ", ".join(notes),
        str(option["licence"] or ""),
        option["says"],
        str(option["source"] or option.get("file", "")),
    )


def _gpu_row(option: Mapping[str, Any]) -> tuple[str, ...]:
    def fact(name: str, unit: str) -> str:
        return f"{option[name]} {unit}".strip() if option[name] is not None else ""

    return (
        option["option"],
        fact("memory_gib", "GiB"),
        fact("bf16_tflops", "Tflop/s"),
        fact("bandwidth_gb_s", "GB/s"),
        fact("compute_capability", ""),
        option["source"] or option["says"],
    )


def markdown(document: Mapping[str, Any]) -> str:
    """The page docs/catalogue.md."""
    parts = [
        "# The catalogue",
        "Every group of options and what it holds. `python -m launcher catalogue [GROUP]` prints the same, with "
        "options of your own; `python -m launcher explain GROUP=OPTION` tells what one sets.",
        "This page is generated: `make catalogue` writes it anew.",
    ]
    for group in document["groups"]:
        parts.append(f"## {group['group']}")
        parts.append(f"`{group['group']}=OPTION`{_chosen(group).replace('  (', ' (')}.")
        rows = _rows(group)
        parts.append(_markdown_table(_columns(group), rows) if rows else "There is none yet.")
        if group["group"] == "model":
            parts.append(MODEL_NOTE)
    return "\n\n".join(parts) + "\n"


MODEL_NOTE = (
    "Parameters are those of the language model as published, in weights that are counted once; the count computed "
    "from an entry's numbers agrees with it to 0.1 %. Context is in tokens. `gated`: the hub asks for an accepted "
    "licence and a token. `unverified`: some of the entry's facts could not be checked against a source."
)


def _markdown_table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [_markdown_row(columns), "|" + " --- |" * len(columns)]
    lines += [_markdown_row((f"`{name}`", *(_linked(cell) for cell in cells))) for name, *cells in rows]
    return "\n".join(lines)


def _markdown_row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _linked(cell: str) -> str:
    return f"<{cell}>" if cell.startswith("https://") and " " not in cell else cell
