"""docs/proof.md: what was proven, cell by cell."""

import platform
from importlib.metadata import version
from pathlib import Path

from tests.proof import runs
from tests.proof.cells import Cell
from tests.proof.matrix import Outcome
from tests.proof.measured import STACK, Measured

DOCUMENT = Path(__file__).parents[2] / "docs" / "proof.md"
WORDS = {"preemption": "preemption notice", "time_limit": "time limit", "sigkill": "SIGKILL of a worker"}
WORLDS = {"1": "1", "2": "2", "2x2": "2 nodes x 2"}
HEADER = ["ranks", "rows", "trained", "accumulation", "interrupted by", "in epoch", "last step", "next step", "weights"]


def page(outcome: Outcome, words: str, slurm: str) -> str:
    """The page as Markdown; `words` is what CELLS was."""
    stack = ", ".join(f"{name} {version(name)}" for name in STACK)
    cells = sorted(outcome.found, key=lambda cell: list(outcome.found).index(cell))
    several = sum(cell.world != "1" for cell in cells)
    parts = [
        "# Proof of exact resume",
        f"Made by `make proof CELLS={words}`. {len(cells)} runs, {len(cells) - several} of one rank and {several} of "
        f"several, each interrupted once on a real Slurm {slurm} and compared with an uninterrupted run of the same "
        f"numbers ({len(outcome.calm)} of them): the final weights' files are the same, byte for byte (sha256).",
        f"The model is a Llama of 0.15 M parameters with dropout 0.1 in attention and, with LoRA, in the adapter. "
        f"{runs.ROWS} rows are shuffled anew in each of {runs.EPOCHS:g} epochs. {platform.machine()}, Python "
        f"{platform.python_version()}, {stack}.",
        "A preemption is a job of a partition of higher priority that takes the node; a time limit is brought near "
        "while the job runs, as an operator can; SIGKILL hits the last rank's process. While the notice is on its "
        "way, rank 0 is held at the step aimed at, so that a run of seconds can be hit at a chosen place. After a "
        "notice the next step follows the last one. After SIGKILL the steps since the last periodic checkpoint are "
        "made again.",
        table(HEADER, [row(cell, outcome.found[cell], outcome.calm[cell.calm]) for cell in cells]),
    ]
    if outcome.wrong:
        parts += ["## Not proven", *(f"- {name}: {why.splitlines()[0]}" for name, why in outcome.wrong.items())]
    return "\n\n".join(parts) + "\n"


def row(cell: Cell, found: Measured, calm: Measured) -> list[str]:
    """One line of the table."""
    return [
        WORLDS[cell.world], "packed" if cell.packing else "padded", cell.adapter, str(cell.accumulation),
        WORDS[cell.cause], str(cell.epoch), str(found.step), str(found.resumed),
        f"{found.digest[:12]} {'=' if found.digest == calm.digest else 'NOT'} {calm.digest[:12]}",
    ]  # fmt: skip


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
