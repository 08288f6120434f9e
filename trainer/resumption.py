"""What an attempt goes on from: found and verified by rank 0, told to all workers."""

import logging
from pathlib import Path
from typing import Any

from conf.folder import RunFolder
from conf.schema.run import RunConfig
from trainer import checkpoint, elastic
from trainer.failure import WorkerError
from trainer.place import Place
from trainer.recording import Recorder
from trainer.resume import ResumeState, read, why_other_rows

log = logging.getLogger("trainer")


def newest(config: RunConfig, folder: RunFolder, place: Place, recorder: Recorder) -> Path | None:
    """The newest checkpoint that is whole: rank 0 looks, verifies, sees that nothing in it runs code, and tells the
    others. Raises WorkerError where it cannot be read under this strategy."""
    found: Path | None = None
    if place.rank == 0:
        from trainer.pickles import why_unsafe

        checkpoint.clear_leftovers(folder.checkpoints)

        def skipped(path: Path, why: str) -> None:
            log.warning("checkpoint %s is skipped: %s", path, why)
            recorder.event("checkpoint_skipped", path=str(path), why=why)

        found = checkpoint.newest(folder.checkpoints, skipped, why_unsafe)
    found = _told(place, found)
    why = None if found is None else checkpoint.why_unfit(found, config.parallel.strategy)
    if why is not None:
        raise WorkerError(why)
    return found


def source(config: RunConfig, place: Place, recorder: Recorder, resume: Path) -> Path:
    """What to resume from: the checkpoint, or a copy of it for this number of workers, which rank 0 makes."""
    found: Path | None = None
    if place.rank == 0:
        found = elastic.source_of(resume, config.parallel.strategy, place.world, recorder.alive)
    found = _told(place, found)
    assert found is not None
    return found


def _told(place: Place, path: Path | None) -> Path | None:
    """The path that rank 0 has, on all ranks."""
    found = [path]
    if place.world > 1:
        import torch

        torch.distributed.broadcast_object_list(found, src=0)
    return found[0]


def say(config: RunConfig, place: Place, recorder: Recorder, resume: Path, seconds: float) -> None:
    """Tell what the run goes on from, and what has changed since; `seconds` are those of `newest`."""
    changed = elastic.changes(resume, elastic.layout_of(config, place.world))
    more: dict[str, Any] = {}
    if changed:
        more = {"changed": changed, "message": elastic.in_words(changed)}
        log.info("this attempt differs from the one that saved: %s", more["message"])
    recorder.resumes(resume, checkpoint.step_of(resume), seconds, **more)
    log.info("resuming from %s", resume)


def state_of(resume: Path, sequences: int) -> ResumeState:
    """Where the run stands there, over so many rows or packed sequences. Raises WorkerError where they are others."""
    state = read(resume)
    why = why_other_rows(state, sequences)
    if why is not None:
        raise WorkerError(why)
    return state
