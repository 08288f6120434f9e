"""`python -m trainer show-data RUN`: prepared rows as text, and each token with its label."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from conf.folder import RunFolder
from trainer.data.labels import IGNORED
from trainer.data.prepared import load
from trainer.data.tokenizer import load_tokenizer
from trainer.errors import PreparationError
from trainer.prepare import fail, prepare, read_config, talk


class NoSuchRow(PreparationError):
    """A row or split that the prepared data does not have."""


def main(argv: Sequence[str]) -> int:
    """The command. Returns an exit code."""
    parser = argparse.ArgumentParser(prog="python -m trainer show-data", description=(__doc__ or "").strip())
    parser.add_argument("run", type=Path, help="run folder; it is prepared first where it is not yet")
    parser.add_argument("--row", type=int, default=0, metavar="N", help="first row to show, counted from 0")
    parser.add_argument("--rows", type=int, default=1, metavar="K", help="how many rows to show")
    parser.add_argument("--split", choices=("train", "eval"), default="train", help="training or held-out rows")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args(argv)
    talk()
    try:
        shown = show(RunFolder(arguments.run), arguments.split, arguments.row, arguments.rows)
    except (PreparationError, OSError) as error:
        return fail(error)
    if arguments.json:
        print(json.dumps(shown, ensure_ascii=False))
    else:
        _print(shown)
    return 0


def show(folder: RunFolder, part: Any, first: int, count: int) -> dict[str, Any]:
    """Rows `first` to `first + count` of a split, fewer at its end, with the text and label of each token.

    A packed sequence counts as one row; `rows` then has its row lengths under `seq_lengths`. Raises PreparationError.
    """
    assets = prepare(folder)
    dataset = load(assets.data.path, part)
    total = 0 if dataset is None else len(dataset)
    if not 0 <= first < total or count < 1:
        last = f"rows 0 to {total - 1}" if total else "no rows"
        raise NoSuchRow(f"--row {first} --rows {count}: the {part} split has {last}")
    tokenizer = load_tokenizer(assets.model.tokenizer or assets.model.path, read_config(folder).model)
    rows = [_row(dataset[number], number, tokenizer) for number in range(first, min(first + count, total))]
    return {"split": part, "total": total, "rows": rows}


def _row(sequence: dict[str, Any], number: int, tokenizer: Any) -> dict[str, Any]:
    ids = sequence["input_ids"]
    tokens = [
        {"id": token, "text": tokenizer.decode([token]), "label": label}
        for token, label in zip(ids, sequence["labels"], strict=True)
    ]
    row = {"row": number, "text": tokenizer.decode(ids), "tokens": tokens}
    return row | ({"seq_lengths": sequence["seq_lengths"]} if "seq_lengths" in sequence else {})


def _print(shown: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for row in shown["rows"]:
        trained = sum(token["label"] != IGNORED for token in row["tokens"])
        head = f"{shown['split']} row {row['row']} of {shown['total']}: {len(row['tokens'])} tokens, {trained} learnt"
        console.print(Text(head, style="bold"))
        console.print(Text.assemble(*((token["text"], _style(token)) for token in row["tokens"])))
        console.print(Text(f"{'':2}{'place':>6}{'id':>8}{'label':>8}  token", style="bold"))
        starts = _starts(row)
        for place, token in enumerate(row["tokens"]):
            if place in starts:
                console.print(Text("  " + "-" * 40, style="dim"))
            mark = "*" if token["label"] != IGNORED else ""
            line = f"{mark:2}{place:>6}{token['id']:>8}{token['label']:>8}  {token['text']!r}"
            console.print(Text(line, style=_style(token)))
    console.file.flush()


def _style(token: dict[str, Any]) -> str:
    return "green" if token["label"] != IGNORED else "dim"


def _starts(row: dict[str, Any]) -> set[int]:
    """Places where another row begins in a packed sequence."""
    return set(_sums(row.get("seq_lengths", [])[:-1]))


def _sums(lengths: Sequence[int]) -> Iterator[int]:
    total = 0
    for length in lengths:
        total += length
        yield total


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
