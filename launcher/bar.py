"""Progress on a terminal as a bar below the log, elsewhere as plain lines among it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from launcher.progress import Progress, clock
from launcher.report import inert

LINE_SECONDS = 10.0
"""Least time between two lines of progress where there is no bar."""
Show = Callable[[Progress, list[str]], None]
"""Shows the present progress, and new lines of the log."""


@contextmanager
def view(console: Console) -> Iterator[Show]:
    """A way to show progress on this console."""
    if not console.is_terminal:
        yield plain(console)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[words]}", markup=False),
    )
    with RichProgress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, words="")

        def show(progress: Progress, lines: list[str]) -> None:
            for line in lines:
                bar.console.print(Text(inert(line)))
            training = progress.training
            bar.update(
                task,
                description=f"step {progress.step}/{progress.steps}" if training else progress.phase,
                total=progress.steps if training else None,
                completed=progress.step,
                words=summary(progress) if training else "",
            )

        yield show


def plain(console: Console, now: Callable[[], float] = time.monotonic) -> Show:
    """Lines: the log's, each new phase, and now and then the progress where there was any."""
    phase, step, next_line = "", 0, 0.0

    def show(progress: Progress, lines: list[str]) -> None:
        nonlocal phase, step, next_line
        for line in lines:
            console.print(inert(line))
        if progress.phase != phase:
            phase = progress.phase
            console.print(f"-- {phase}")
        moved = progress.training and progress.step not in (step, progress.steps)
        if moved and now() >= next_line:
            step, next_line = progress.step, now() + LINE_SECONDS
            console.print(f"-- step {progress.step}/{progress.steps or '?'}, {summary(progress)}")

    return show


def summary(progress: Progress) -> str:
    """Loss, rate and time left in words."""
    left = clock(progress.seconds_left)
    parts = [
        "" if progress.loss is None else f"loss {progress.loss:.4f}",
        progress.rate(),
        f"{left} left" if left else "",
    ]
    return ", ".join(part for part in parts if part)
