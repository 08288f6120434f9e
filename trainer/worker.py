"""`python -m trainer worker RUN`: train on one device. The agent starts one for each, with torch elastic's environment.

Nothing of the training stack is imported before the environment is set for it."""

import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

from conf.folder import RunFolder
from conf.schema.run import RunConfig
from trainer import checkpoint, parallel, resumption, stack
from trainer.boundary import Boundary
from trainer.errors import PreparationError
from trainer.failure import WorkerError, write_failure
from trainer.offline import SWITCHES
from trainer.place import Place, place_of
from trainer.quiet import no_progress_bars, quieten
from trainer.recording import Recorder
from trainer.resume import ResumeState
from trainer.scratch import copies
from trainer.signals import NoticeFlag

log = logging.getLogger("trainer")


def main(argv: list[str]) -> int:
    """Train the run of folder argv[0]. Returns 0 when done or stopped on request, 1 when failed, 2 for bad usage."""
    if len(argv) != 1:
        print("usage: python -m trainer worker RUN", file=sys.stderr)
        return 2
    notice = NoticeFlag()
    notice.install()
    folder = RunFolder(argv[0])
    place = place_of(os.environ)
    _set_up_log(place)
    try:
        work(folder, place, notice)
    except (WorkerError, PreparationError) as error:
        log.error("%s", error)
        write_failure(folder.attempt_folder(place.attempt), place.rank, error)
        return 1
    except Exception as error:
        log.exception("worker %d failed", place.rank)
        write_failure(folder.attempt_folder(place.attempt), place.rank, error)
        return 1
    return 0


def work(folder: RunFolder, place: Place, notice: NoticeFlag) -> None:
    """Train, from the newest checkpoint where there is one, and write the result. Raises what goes wrong.

    After a notice all workers save and leave together, at the first moment at which they can agree."""
    config = folder.config()
    if folder.result().get("status") == "completed":
        log.info("%s is finished already", folder.id)
        return
    assets = _assets(folder)
    _check_world(config, place)
    recorder = Recorder(folder, place.attempt, place.rank, config)
    parallel.prepare_environment(config, place.world)
    _stay_offline()

    stack.bring_in(config, Path(assets["model"]["path"]))

    from trainer import arguments, finishing

    no_progress_bars()
    arguments.check(config)
    recorder.event("imported", seconds=round(_age(), 3))
    with_group = parallel.is_distributed(config, place.world)
    begun = time.perf_counter()
    if with_group:
        _rendezvous(config, place)
    recorder.event("rendezvoused", seconds=_since(begun))

    begun = time.perf_counter()
    resume = resumption.newest(config, folder, place, recorder)
    verify_seconds = _since(begun)

    begun = time.perf_counter()
    here = copies(os.environ)
    train, held_out = load_rows(Path(here.get("data", assets["data"]["path"])), config)
    steps = arguments.total_steps(config, len(train))
    begun_at = None if resume is None else resumption.state_of(resume, len(train))
    evaluate = held_out is not None
    said = arguments.arguments(config, folder, len(train), steps, evaluate, resume=resume is not None)
    args = arguments.settle(said)
    data_seconds = _since(begun)

    begun = time.perf_counter()
    boundary = Boundary(folder, place.rank, place.world, notice)
    path = Path(here.get("model", assets["model"]["path"]))
    trainer = _build(config, folder, recorder, boundary, args, path, steps, train, held_out, begun_at)
    recorder.event("model_loaded", seconds=_since(begun))
    recorder.event("data_ready", seconds=data_seconds, steps=steps, rows=len(train))
    if resume is not None:
        resumption.say(config, place, recorder, resume, verify_seconds)
    if boundary.must_leave():
        finishing.leave(folder, place, checkpoint.step_of(resume) if resume is not None else 0)
    else:
        source = None if resume is None else resumption.source(config, place, recorder, resume)
        _train(trainer, source)
        finishing.finish(config, folder, place, recorder, trainer, steps)
    recorder.close()
    if with_group:
        import torch

        torch.distributed.destroy_process_group()


def load_rows(path: Path, config: RunConfig) -> tuple[Any, Any | None]:
    """Prepared training and held-out rows (datasets.Dataset); None where nothing is to be evaluated.

    Columns input_ids, labels (-100: not trained on) and, packed, seq_lengths."""
    from trainer.data.prepared import load

    train = load(path, "train")
    if not train:
        raise WorkerError(f"{path} has no training rows: look at data.path and data.max_length")
    most = config.evaluation.max_rows
    held_out = load(path, "eval") if most != 0 else None
    if held_out and most is not None:
        held_out = held_out.select(range(min(most, len(held_out))))
    return train, held_out or None


def _assets(folder: RunFolder) -> dict[str, Any]:
    assets: dict[str, Any] | None = folder.manifest().get("assets")
    if not assets:
        raise WorkerError(f"the run's weights and data are not prepared: run python -m trainer prepare {folder.path}")
    for kind in ("model", "data"):
        if not Path(assets[kind]["path"]).is_dir():
            raise WorkerError(
                f"the prepared {kind} is gone from {assets[kind]['path']}: run python -m trainer prepare {folder.path}"
            )
    return assets


def _check_world(config: RunConfig, place: Place) -> None:
    batch = config.batch
    if None in (batch.global_, batch.micro, batch.accumulation):
        raise WorkerError("config.yaml has no complete batch: it was not written by the launcher")
    assert batch.micro is not None and batch.accumulation is not None
    if batch.global_ != batch.micro * batch.accumulation * place.world:
        raise WorkerError(
            f"batch.global={batch.global_} is not batch.micro={batch.micro} x batch.accumulation={batch.accumulation} "
            f"x {place.world} workers: the run was made for {config.world_size} workers"
        )


def _rendezvous(config: RunConfig, place: Place) -> None:
    """Form the process group; on GPUs with gloo beside nccl, for what is agreed on in CPU memory."""
    import torch

    if config.gpu.device == "cuda":
        torch.cuda.set_device(place.local_rank)
        torch.distributed.init_process_group("cpu:gloo,cuda:nccl", timeout=checkpoint.WAIT)
    else:
        torch.distributed.init_process_group("gloo", timeout=checkpoint.WAIT)


def _train(trainer: Any, resume: Path | None) -> None:
    try:
        trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    except Exception:
        trainer.saver.last_words()
        raise


def _build(
    config: RunConfig,
    folder: RunFolder,
    recorder: Recorder,
    boundary: Boundary,
    args: Any,
    path: Path,
    steps: int,
    train: Any,
    held_out: Any | None,
    begun: ResumeState | None,
) -> Any:
    from trainer import adapters, model, training, vocabulary
    from trainer.data.tokenizer import load_tokenizer, tokenizer_of

    assets = _assets(folder)
    loaded = model.load_model(path, config)
    model.call(loaded, assets["model"]["path"])
    tokenizer = load_tokenizer(tokenizer_of(assets, path), config.model)
    vocabulary.grow(loaded, len(tokenizer))
    tuned = adapters.attach(loaded, config, steps, path)
    return training.build(config, folder, recorder, boundary, args, tuned, tokenizer, train, held_out, begun)


def _stay_offline() -> None:
    """Everything lies in the store: no library may ask the hub."""
    os.environ.update(SWITCHES)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _set_up_log(place: Place) -> None:
    head = f"[rank {place.rank}] " if place.world > 1 else ""
    level = logging.INFO if place.rank == 0 else logging.WARNING
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format=f"{head}%(asctime)s %(message)s", datefmt="%H:%M:%S"
    )
    logging.getLogger("trainer").setLevel(level)
    quieten()


def _age() -> float:
    """Seconds since this process started, interpreter included."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def _since(begun: float) -> float:
    return round(time.perf_counter() - begun, 3)
