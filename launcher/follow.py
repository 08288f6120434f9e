"""Following a run to its end: live log, progress with rate and time left, and at the end what came of it.

Reads the run folder alone, each line once; Slurm is asked at the end, of a run that left no word."""

import os
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from conf.folder import RunFolder
from launcher import report
from launcher.bar import view
from launcher.progress import Progress
from launcher.runlogs import Logs
from launcher.slurm import queue
from launcher.state import ACTIVE, State, job_ids, state_of
from launcher.tail import Tail

LOOK = 0.25
"""Seconds between two looks at the folder."""
STRAGGLE = 60.0
"""Seconds that the process of a run has after its result before it is no longer waited for."""


def follow(
    folder: RunFolder,
    *,
    as_json: bool = False,
    running: Callable[[], bool] | None = None,
    first_attempt: int = 1,
    node: str | None = None,
) -> int:
    """Follow a run until it has a result, or until `running` says that nothing works at it any more.

    Without `running` the result alone ends it. Shows attempts from `first_attempt` on. With `as_json` everything for
    people goes to stderr, and one document to stdout at the end. Gives the exit code: 0, or 4 where the run did not
    come to its end.
    """
    console = Console(stderr=as_json, highlight=False, markup=False, soft_wrap=True)
    progress = Progress()
    events, metrics, logs = Tail(folder.events_file), Tail(folder.metrics_file), Logs(folder, first_attempt, node=node)
    given_up: float | None = None
    with view(console) as show:
        while True:
            active = running() if running is not None else not folder.result()
            progress.feed(events.objects(), metrics.objects())
            show(progress, logs.lines())
            if not active:
                break
            if running is not None and folder.result():
                given_up = given_up or time.monotonic() + STRAGGLE
                if time.monotonic() > given_up:
                    break
            time.sleep(LOOK)
        show(progress, logs.rest())
    return conclude(folder, progress, console, as_json)


def conclude(folder: RunFolder, progress: Progress, console: Console, as_json: bool) -> int:
    """Say what came of a run that is over; gives the exit code."""
    result = folder.result()
    state = state_of(folder, queue.look(set() if result else job_ids([folder])))
    status = state.status if state.status not in ACTIVE else "interrupted"
    good = status in ("completed", "stopped", "pruned")
    console.print()
    for line in _table(folder, result, progress) if good else _failure(folder, state, status):
        console.print(report.inert(line))
    if as_json:
        document = {"run_id": folder.id, "folder": str(folder.path), "status": status, "steps": progress.steps}
        document |= result or {"cause": state.cause, "message": state.message}
        if good and result.get("artefact"):
            document |= {"artefact_folder": str(folder.path / result["artefact"]), "chat": chat_command(folder)}
        report.document(document)
    return 0 if good else 4


def chat_command(folder: RunFolder) -> str:
    """What to type to talk to what a run has trained."""
    return f'python -m trainer chat {shlex.quote(near(folder.path))} "..."'


def near(path: Path) -> str:
    """A path as short as it can be typed from here: relative where it lies below the present folder."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _table(folder: RunFolder, result: dict[str, Any], progress: Progress) -> list[str]:
    before, after = result.get("eval_loss_before"), result.get("eval_loss")
    evaluation = "no held-out rows"
    if before is not None and after is not None:
        change = f" ({(after - before) / before:+.1%})" if before else ""
        evaluation = f"{before:.4f} before, {after:.4f} after{change}"
    speed, loss = result.get("tokens_per_second"), result.get("train_loss")
    rows = [
        ("run", f"{folder.id} has {result['status']}"),
        ("steps", f"{result.get('step')}" + (f" of {progress.steps}" if progress.steps else "")),
        ("tokens/s", f"{speed:,.0f}" if speed else "not measured"),
        ("training loss", f"{loss:.4f}" if loss is not None else "none"),
        ("evaluation loss", evaluation),
    ]
    if result.get("artefact"):
        rows.append((result["artefact"], near(folder.path / result["artefact"])))
        rows.append(("talk to it", chat_command(folder)))
    return [f"{title:<17}{text}" for title, text in rows]


def _failure(folder: RunFolder, state: State, status: str) -> list[str]:
    cause = (state.cause or "unknown").replace("_", " ")
    words = (state.message or "it left no word").splitlines()
    head = f"{folder.id}: {status}" + ("" if cause == status else f", {cause}")
    again = f"to go on type `python -m launcher resume {folder.id}`"
    return [head, *(f"  {line}" for line in words), *([] if again in state.message else [again])]
