"""`make bench`: measure every row and write docs/benchmarks.md; `python -m benchmarks submission` measures one part."""

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks import startup, submission, sweeps, training
from benchmarks.pairs import HEADER, PAIRS

DOCUMENT = Path(__file__).parents[1] / "docs" / "benchmarks.md"
PARTS = ("submission", "sweeps", "training", "startup")


def main(argv: list[str]) -> int:
    """Measure the parts named, or all, which writes the page."""
    parts = argv or list(PARTS)
    if unknown := sorted(set(parts) - set(PARTS)):
        print(f"no such part: {', '.join(unknown)}; there is: {', '.join(PARTS)}", file=sys.stderr)
        return 2
    rows: list[list[str]] = []
    phases: list[list[str]] = []
    starts: list[list[str]] = []
    if "submission" in parts:
        rows += [row.cells() for row in submission.rows()]
    if "sweeps" in parts:
        rows += [row.cells() for row in sweeps.rows()]
    if "training" in parts:
        training_rows, phases = training.rows()
        rows += [row.cells() for row in training_rows]
    if "startup" in parts:
        start_rows, starts = startup.rows()
        rows += [row.cells() for row in start_rows]
    text = page(rows, phases, starts)
    print(text)
    if not argv:
        DOCUMENT.write_text(text, encoding="utf-8")
    return 0


def page(rows: list[list[str]], phases: list[list[str]], starts: list[list[str]]) -> str:
    """The page as Markdown."""
    machine = f"{os.cpu_count()} CPU cores, no GPU, Python {platform.python_version()}"
    stack = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "trl", "peft"))
    parts = [
        "# Benchmarks",
        "Made by `make bench`. Seconds depend on the machine; the ratio is ours divided by the alternative, from "
        f"{PAIRS} interleaved pairs in one run, so below 1 is faster. Measured on {machine}; {stack}.",
        table(HEADER, rows),
    ]
    if phases:
        parts += ["Start of a worker to the end of its first step, by phase:", table(["phase", "s", "share"], phases)]
    if starts:
        parts += [startup.WHAT, table(["what", *(f"{phase}, s" for phase in startup.PHASES)], starts)]
    return "\n\n".join(parts) + "\n"


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
