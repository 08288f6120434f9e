"""What a run tells: metrics lines, totals over attempts, the result, the causes of failures."""

import errno
import math
from pathlib import Path
from typing import Any

import pytest

from conf.folder import RunFolder, append_line, read_json, write_json
from conf.schema.run import RunConfig
from trainer.boundary import Boundary
from trainer.failure import WorkerError, cause_of, message_of, write_failure
from trainer.recording import Recorder
from trainer.result import totals, write_result
from trainer.signals import NoticeFlag


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "run")
    made.attempt_folder(1).mkdir(parents=True)
    return made


def line(step: int, loss: float | None, seconds: float = 1.0, tokens: int = 10) -> dict[str, Any]:
    return {"step": step, "loss": loss, "seconds": seconds, "tokens": tokens}


def test_a_line_of_several_steps_holds_means_of_one(folder: RunFolder) -> None:
    recorder = Recorder(folder, attempt=1, rank=0)
    recorder.step_done(1, tokens=10)
    recorder.step_done(2, tokens=30)
    recorder.metrics(2, loss=1.5, learning_rate=0.1, grad_norm=math.inf)
    [found] = folder.metrics()
    assert (found["step"], found["loss"], found["tokens"], found["grad_norm"]) == (2, 1.5, 20, None)
    assert found["seconds"] >= 0


def test_other_ranks_write_nothing(folder: RunFolder) -> None:
    recorder = Recorder(folder, attempt=1, rank=1, tracked=RunConfig.model_validate({"model": {"id": "x"}}))
    recorder.begin(3, 0)
    recorder.step_done(1, tokens=10)
    recorder.metrics(1, loss=1.5, learning_rate=0.1, grad_norm=1.0)
    recorder.evaluated(1, 2.0)
    recorder.event("finished", 1)
    recorder.close()
    assert [path.name for path in folder.path.iterdir()] == ["attempts"]


def test_totals_leave_out_steps_that_a_crash_undid() -> None:
    lines = [line(2, 4.0), {"step": 2, "eval_loss": 9.9}, line(4, 100.0), line(3, 2.0, seconds=2.0), line(4, 3.0)]
    found = totals(lines)
    assert found.train_loss == (2 * 4.0 + 2.0 + 3.0) / 4
    assert (found.seconds, found.tokens) == (5.0, 40)


def test_totals_of_nothing_and_of_losses_that_are_no_number() -> None:
    assert totals([]).train_loss is None
    assert totals([line(1, None), line(2, 2.0)]).train_loss == 2.0


def test_the_result_takes_evaluations_from_all_attempts(folder: RunFolder) -> None:
    for attempt, step, loss in ((1, 0, 5.0), (1, 4, 4.5), (2, 8, 4.0)):
        folder.append_event("evaluated", attempt, step, eval_loss=loss)
    append_line(folder.metrics_file, line(8, 4.2, seconds=0.5, tokens=100))
    found = write_result(folder, "completed", 8, 1234, "adapter")
    assert found == folder.result()
    assert (found["eval_loss_before"], found["eval_loss"], found["train_loss"]) == (5.0, 4.0, 4.2)
    assert (found["tokens"], found["seconds"], found["tokens_per_second"]) == (800, 4.0, 200.0)
    assert (found["status"], found["cause"], found["attempts"], found["artefact"]) == (
        "completed",
        "completed",
        1,
        "adapter",
    )


def test_requests_are_seen_by_rank_0(folder: RunFolder) -> None:
    boundary = Boundary(folder, rank=0, world=1, notice=NoticeFlag())
    agreed = boundary.agree(7)
    assert (agreed.tokens, agreed.stop, agreed.save) == (7, False, False)
    write_json(folder.stop_file, {"reason": "pruned"})
    folder.save_file.touch()
    agreed = boundary.agree(7)
    assert (agreed.stop, agreed.save, boundary.reason()) == (True, True, "pruned")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"reason": "because"}'])
def test_a_stop_file_that_says_nothing_stops(folder: RunFolder, text: str) -> None:
    folder.stop_file.write_text(text)
    assert Boundary(folder, rank=0, world=1, notice=NoticeFlag()).reason() == "stopped"


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (MemoryError(), "out_of_memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "out_of_memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "disk_full"),
        (RuntimeError("[../gloo/transport/tcp/pair.cc:547] Connection closed by peer [10.0.0.1]:1"), "network"),
        (RuntimeError("shape mismatch"), "worker_crash"),
        (WorkerError("parallel=fsdp2 was asked for, but nccl is no gloo"), "worker_crash"),
    ],
)
def test_failures_have_a_cause_and_one_sentence(folder: RunFolder, error: Exception, cause: str) -> None:
    write_failure(folder.attempt_folder(1), 3, error)
    said = read_json(folder.attempt_folder(1) / "failure-3.json")
    assert said["cause"] == cause
    assert said["message"] and "\n" not in said["message"]


def test_a_users_mistake_is_told_as_it_is() -> None:
    error = WorkerError("set model.allow_pickle=true")
    assert message_of(error, cause_of(error)) == "set model.allow_pickle=true"
