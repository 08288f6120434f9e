"""One cell on the cluster: submit, interrupt at the chosen place, wait for the end, look at what came of it."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from conf.folder import RunFolder
from tests.faults import inflict, workload
from tests.faults.processes import held, workers
from tests.faults.watch import Missed, Watch
from tests.proof.cells import Calm, Cell
from tests.proof.measured import Measured
from tests.slurm.launching import Login, all_logs, wait_for_end

ROWS = 320
EPOCHS = 2.5
MICRO = 2
START = 240.0
"""Seconds within which a run must have begun to train; a busy machine imports slowly."""
END = 300.0
TRIES = 3
"""Times that a cell is tried when its interruption came at the wrong place; never when its weights are wrong."""


class Broken(Exception):
    """A promise is broken; the message says which."""


@dataclass(frozen=True)
class Place:
    """Where in a run an interruption must hit, in passes over the rows."""

    at: float
    """Where it is aimed at."""
    low: float
    high: float


PLACES = {1: Place(0.3, 0.0, 1.0), 2: Place(1.4, 1.0, 2.0)}
"""In epoch 1, and in the middle of epoch 2: never on the edge, where order and position start anew."""


def calm(run: Calm, login: Login, nodes: list[str]) -> Measured:
    """The run that nothing interrupts."""
    begun = time.monotonic()
    folder = login.submit(*_words(run, login.folder, nodes, f"calm-{run.name}"), "checkpoint.interval=1000")
    result = _completed(folder)
    found = workload.digest(folder)
    shutil.rmtree(folder.path, ignore_errors=True)
    name, took = f"calm-{run.name}", round(time.monotonic() - begun, 1)
    return Measured(name, found, result["step"], None, None, None, took)


def interrupted(cell: Cell, login: Login, nodes: list[str], expected: Measured) -> Measured:
    """The run of a cell. Raises Broken where it loses more than it may or its weights are not those of the calm run,
    Missed where it could not be hit at the right place."""
    for turn in range(1, TRIES + 1):
        try:
            found = _interrupt(cell, login, nodes, expected.steps, turn)
            break
        except Missed:
            if turn == TRIES:
                raise
    if found.digest != expected.digest:
        raise Broken(f"{cell.name}: the weights are not those of the uninterrupted run; {found}")
    return found


def _interrupt(cell: Cell, login: Login, nodes: list[str], steps: int, turn: int) -> Measured:
    begun = time.monotonic()
    place = PLACES[cell.epoch]
    mark = max(1, round(place.at / EPOCHS * steps))
    # A save of its own lies behind a step that is killed; a notice has none but its own.
    interval = max(1, mark // 2) if cell.cause == "sigkill" else 1000
    folder = login.submit(
        *_words(cell, login.folder, nodes, f"{cell.name}-{turn}"), f"checkpoint.interval={interval}"
    )  # fmt: skip
    watch = Watch(folder)
    watch.until(lambda run: bool(run.of(1, "data_ready")), START, "training")
    mine = workers(folder, 1)
    watch.until(lambda run: run.step >= mark, START, f"step {mark}")
    # Held, a run of seconds can be hit at a chosen step by what takes seconds itself; Slurm wakes whom it signals.
    with held(mine[:1]):
        if cell.cause == "sigkill":
            victim = mine[-1]
            inflict.kill(victim)
        elif cell.cause == "preemption":
            inflict.preempt(login.cluster, nodes[-1])
            watch.until(lambda run: bool(run.of(1, "signal")), 30, "the notice")
        else:
            inflict.end_soon(login.cluster, folder)
            watch.until(lambda run: bool(run.of(1, "signal")), inflict.LIMIT, "the notice")
    result = _completed(folder)
    watch.look()
    before, after = watch.steps_of(1), watch.steps_of(2)
    if not after:
        raise Missed(f"{folder.id} was finished before it was interrupted")
    passes = round(before[-1] / steps * EPOCHS, 3)
    if not place.low < passes < place.high:
        raise Missed(f"{folder.id} was interrupted after {passes} passes, not in epoch {cell.epoch}")
    found = Measured(
        cell.name, workload.digest(folder), result["step"], before[-1], after[0], passes,
        round(time.monotonic() - begun, 1),
    )  # fmt: skip
    _judge(cell, folder, watch, found, interval)
    shutil.rmtree(folder.path, ignore_errors=True)
    return found


def _judge(cell: Cell, folder: RunFolder, watch: Watch, found: Measured, interval: int) -> None:
    """Raise Broken where more happened, or more was lost, than the cause allows."""
    causes = [event["cause"] for event in watch.events if event["event"] == "requeued"]
    wanted = {"preemption": "preempted", "time_limit": "time_limit", "sigkill": "worker_killed"}[cell.cause]
    if causes != [wanted]:
        raise Broken(f"{folder.id} went on after {causes}, not after {wanted} once\n{all_logs(folder)}")
    assert found.lost is not None
    # A full tune goes on while a checkpoint is written.
    allowed = interval + watch.under_way(1) if cell.cause == "sigkill" else 0
    if not 0 <= found.lost <= allowed:
        raise Broken(f"{folder.id} lost {found.lost} steps, {allowed} allowed: {found}")


def _completed(folder: RunFolder) -> dict[str, int]:
    result = wait_for_end(folder, END)
    if result["status"] != "completed":
        raise Broken(f"{folder.id}: {result}\n{all_logs(folder)}")
    return {"step": int(result["step"])}


def _words(run: Calm, home: Path, nodes: list[str], name: str) -> list[str]:
    return [
        *workload.words(home, adapter=run.adapter, packing=run.packing),
        f"method.epochs={EPOCHS}", "data.eval_fraction=0", f"batch.micro={MICRO}",
        f"batch.accumulation={run.accumulation}", f"cluster.nodes={run.nodes}",
        f"cluster.devices_per_node={run.devices}", f"site.nodelist='{','.join(nodes)}'", "limits.notice=10",
        f"name={name}",
    ]  # fmt: skip
