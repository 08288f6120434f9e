"""How a worker's part ends: with what was trained, or with what there is so far."""

import logging
from typing import Any

from conf.folder import RunFolder, write_json
from conf.schema.run import RunConfig
from trainer import artefact
from trainer.attempt import LEFT
from trainer.place import Place
from trainer.recording import Recorder
from trainer.result import write_result

log = logging.getLogger("trainer")


def leave(folder: RunFolder, place: Place, step: int) -> None:
    """Tell the agent that the workers were told to leave, and have nothing unsaved."""
    if place.rank == 0:
        write_json(folder.attempt_folder(place.attempt) / LEFT, {"step": step})
    log.info("saved at step %d and leaving, as told", step)


def finish(config: RunConfig, folder: RunFolder, place: Place, recorder: Recorder, trainer: Any, steps: int) -> None:
    """Save what was trained, unless the run was asked to stop or told to leave before its end, and write the result."""
    trainer.saver.settle()
    step = trainer.state.global_step
    peft = config.adapter.is_peft
    trainable = _trainable(trainer)
    best = trainer.progress.best if config.checkpoint.keep_best else None
    stopping = trainer.early_stopping
    early = stopping is not None and stopping.reached and step < steps
    if step < steps and trainer.boundary.leaving and not early:
        leave(folder, place, step)
        return
    if step < steps and not early:
        reason = trainer.boundary.reason()
        if recorder.writes:
            write_result(folder, reason, step, trainable, None, best)
            recorder.event("pruned" if reason == "pruned" else "stopped", step)
            folder.stop_file.unlink(missing_ok=True)
        log.info("%s at step %d of %d, as asked", reason, step, steps)
        return
    artefact.save(trainer, folder.adapter if peft else folder.model)
    if recorder.writes:
        write_result(folder, "completed", step, trainable, "adapter" if peft else "model", best)
        why = {"why": f"no lower held-out loss in {stopping.waited} evaluations"} if early else {}
        recorder.event("finished", step, **why)
    if early:
        log.info("method.early_stopping=%d: no lower held-out loss since %.4f", stopping.patience, stopping.best)
    log.info("finished after %d steps; %s", step, folder.adapter if peft else folder.model)


def _trainable(trainer: Any) -> int:
    """Trained parameters of the whole model, whoever holds them."""
    return sum(getattr(value, "ds_numel", value.numel()) for value in trainer.model.parameters() if value.requires_grad)
