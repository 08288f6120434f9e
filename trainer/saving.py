"""How a checkpoint of a run is made: in one go, or copied to host memory and written behind training."""

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from conf.schema.run import RunConfig
from trainer import checkpoint, resume
from trainer.attempt import surprises
from trainer.behind import Behind
from trainer.interval import AutoInterval, Choice, expected
from trainer.progress import Progress
from trainer.recording import Recorder
from trainer.retention import Retention
from trainer.snapshot import LAYOUTS, Snapshot

LAST_WAIT = 30.0
"""Seconds for which a worker that fails waits for the checkpoint that it is writing."""

log = logging.getLogger("trainer")


def writes_behind(config: RunConfig) -> bool:
    """Whether checkpoints are written behind training."""
    if config.adapter.is_peft or config.parallel.strategy not in LAYOUTS:
        return False
    return config.checkpoint.asynchronous is not False


class Saver:
    """Saves the state of a trainer (RunTrainer) at step boundaries. All ranks call every method but `step_done`."""

    def __init__(self, trainer: Any, recorder: Recorder, progress: Progress) -> None:
        config: RunConfig = trainer.run
        self.trainer = trainer
        self.recorder = recorder
        self.progress = progress
        self.checkpoints: Path = trainer.folder.checkpoints
        self.retention = Retention(self.checkpoints, config.checkpoint.keep, config.checkpoint.keep_every)
        self.snapshot: Snapshot | None = None
        """Set while Trainer goes through what it saves: then it is copied in place of being written."""
        self.behind = Behind()
        self._asynchronous = writes_behind(config)
        self._group: Any = None
        if self._asynchronous and config.parallel.strategy == "fsdp2":
            self._group = torch.distributed.new_group(backend="gloo", timeout=checkpoint.WAIT)
        self.auto: AutoInterval | None = None
        self._last: Choice | None = None

    def begin(self, step: int, resumed: Path | None) -> None:
        """Training begins at `step`, from a checkpoint that has been verified or from nothing."""
        if not self.recorder.writes:
            return
        if resumed is not None:
            self.retention.trust(resumed)
        settings = self.trainer.run.checkpoint
        if settings.interval == "auto" and settings.per_epoch is None:
            hours = settings.mtbf_hours or expected(surprises(self.trainer.folder), self.trainer.folder.site_history)
            self.auto = AutoInterval(hours, self.trainer.run.cluster.nodes, step)
            for event in self.trainer.folder.events():
                if event["event"] == "checkpoint_committed" and "stall" in event:
                    self.auto.measure(event["stall"], event["seconds"])

    def step_done(self, step: int, seconds: float) -> bool:
        """On rank 0: whether checkpoint.interval=auto wants a save after this step, which took so many seconds."""
        if self.auto is None:
            return False
        choice = self.auto.step_done(step, seconds)
        if choice is None:
            return False
        if self._last is None or (choice.steps, choice.measured) != (self._last.steps, self._last.measured):
            self._tell(step, choice)
        self._last = choice
        return True

    def save(self, write: Callable[[], None]) -> None:
        """Make the checkpoint of the present step; `write` is Trainer's own way of writing one.

        Raises OSError where the disk is full, also of the write before. Returns when the state is safe from further
        steps: on disk, or in host memory."""
        trainer, step, begun = self.trainer, self.trainer.state.global_step, time.perf_counter()
        try:
            self.behind.wait()
            self.recorder.event("checkpoint_started", step)
            if self.auto is not None:
                self.auto.saved = step
            partial = checkpoint.partial_folder(self.checkpoints, step)
            folder = partial / f"checkpoint-{step}"
            snapshot = self._go_through(write, partial)
            wait_for_all()
            if trainer.args.should_save:
                trainer.tuned.save(folder)
                resume.write(folder, self.progress.state(step))
            stall = None if snapshot is None else time.perf_counter() - begun
            best = self.progress.kept_best()

            def finish() -> None:
                if snapshot is not None:
                    snapshot.write()
                if trainer.args.should_save:
                    self._commit(folder, step, begun, stall, best)

            if snapshot is None:
                finish()
                wait_for_all()
            else:
                self.behind.start(lambda: self._telling(step, finish))
        except Exception as error:
            self._failed(step, error)
            raise
        finally:
            self.recorder.restart_clock()

    def check(self) -> None:
        """Raise what a write behind training has died of. Does not wait."""
        self.behind.check()

    def settle(self) -> None:
        """Wait until nothing is written any more, on any rank. Raises what a write has died of."""
        self.behind.wait()
        wait_for_all()

    def last_words(self) -> None:
        """The worker is failing: give a checkpoint that is under way a little time. Raises nothing."""
        try:
            self.behind.wait(LAST_WAIT)
        except Exception as error:
            log.warning("the checkpoint under way was not written: %s", error)

    def _go_through(self, write: Callable[[], None], partial: Path) -> Snapshot | None:
        trainer = self.trainer
        trainer.args.output_dir = str(partial)
        self.snapshot = Snapshot(self._group) if self._asynchronous else None
        try:
            with trainer.tuned.for_checkpoint():
                write()
            return self.snapshot
        finally:
            self.snapshot = None
            trainer.args.output_dir = str(self.checkpoints)

    def _commit(self, folder: Path, step: int, begun: float, stall: float | None, best: int | None) -> None:
        # A pickle of paths and options, of no use to anybody.
        (folder / "training_args.bin").unlink(missing_ok=True)
        final = checkpoint.commit(folder, self.checkpoints, step)
        shutil.rmtree(folder.parent, ignore_errors=True)
        self.retention.trust(final)
        self.retention.prune(best)
        seconds = time.perf_counter() - begun
        stall = seconds if stall is None else stall
        self.recorder.event(
            "checkpoint_committed", step, path=str(final), seconds=round(seconds, 3), stall=round(stall, 3)
        )
        if self.auto is not None:
            self.auto.measure(stall, seconds)
        self.recorder.alive()

    def _telling(self, step: int, finish: Callable[[], None]) -> None:
        try:
            finish()
        except BaseException as error:
            self._failed(step, error)
            raise

    def _failed(self, step: int, error: BaseException) -> None:
        if not getattr(error, "told", False):
            error.told = True  # type: ignore[attr-defined]  # once: the next boundary raises it again
            self.recorder.event("checkpoint_failed", step, why=str(error))

    def _tell(self, step: int, choice: Choice) -> None:
        self.recorder.event(
            "interval_chosen", step, steps=choice.steps, cost=round(choice.cost, 3), write=round(choice.write, 3),
            between=round(choice.between, 1), step_seconds=round(choice.step_seconds, 4), measured=choice.measured,
        )  # fmt: skip
        log.info(
            "checkpoint.interval=auto: each %d steps; a save costs %.2f s%s, a step %.3f s, and a failure is expected "
            "each %.1f h",
            choice.steps, choice.cost, "" if choice.measured else " (assumed)", choice.step_seconds,
            choice.between / 3600,
        )  # fmt: skip


def wait_for_all() -> None:
    """A barrier, where there are several workers."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
