"""Which checkpoints stay: the newest that verify, each so many steps, the best by held-out loss, over all attempts."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from conf.folder import RunFolder, read_json
from tests.trainer.runs import logs, make_run, start_workers, train, wait
from trainer import checkpoint
from trainer.retention import Retention


def write(checkpoints: Path, *steps: int) -> None:
    for step in steps:
        written = checkpoint.partial_folder(checkpoints, step) / "checkpoint"
        written.mkdir(parents=True)
        (written / "model.bin").write_bytes(b"weights of step %d" % step)
        checkpoint.commit(written, checkpoints, step)


def there(checkpoints: Path) -> list[int]:
    return [checkpoint.step_of(path) for path in checkpoint.committed(checkpoints)]


def test_the_newest_each_fourth_and_the_best_stay(tmp_path: Path) -> None:
    write(tmp_path, *range(1, 13))
    removed = Retention(tmp_path, keep=2, keep_every=4).prune(best=6)
    assert there(tmp_path) == [4, 6, 8, 11, 12]
    assert sorted(checkpoint.step_of(path) for path in removed) == [1, 2, 3, 5, 7, 9, 10]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".removed")]


def test_a_damaged_one_does_not_count_among_the_newest(tmp_path: Path) -> None:
    write(tmp_path, 1, 2, 3)
    (tmp_path / checkpoint.name_of(3) / "model.bin").write_bytes(b"weights of step 4")
    Retention(tmp_path, keep=1).prune()
    assert there(tmp_path) == [2, 3]
    assert checkpoint.newest(tmp_path, lambda path, why: None) == tmp_path / checkpoint.name_of(2)


def test_damage_after_a_checkpoint_was_trusted_is_seen(tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    retention = Retention(tmp_path, keep=1)
    retention.trust(tmp_path / checkpoint.name_of(2))
    (tmp_path / checkpoint.name_of(2) / "model.bin").write_bytes(b"weights")
    retention.prune()
    assert there(tmp_path) == [1, 2]
    write(tmp_path, 3)
    retention.trust(tmp_path / checkpoint.name_of(3))
    retention.prune()
    assert there(tmp_path) == [3]


def evaluating(root: Path, name: str, steps: int, patience: int | None = None, rate: float = 1e-12) -> RunFolder:
    """Saved and evaluated after each second step; at the rate of the default nothing is learnt."""
    return make_run(
        root, name, adapter={"kind": "full", "learning_rate": rate},
        method={"max_steps": steps, "early_stopping": patience, "warmup": 0.9}, evaluation={"interval": 2},
        checkpoint={"interval": 2, "keep": 1, "keep_every": 4, "keep_best": True},
    )  # fmt: skip


def eval_losses(folder: RunFolder) -> dict[int, float]:
    return {event["step"]: event["eval_loss"] for event in folder.events() if event["event"] == "evaluated"}


@pytest.mark.train
def test_the_best_is_known_after_a_resume(tmp_path: Path) -> None:
    """The rate rises until the loss explodes: the first saved step stays the best."""
    folder = evaluating(tmp_path, "best", 6, rate=0.3)
    train(folder)
    losses = eval_losses(folder)
    best = min((step for step in losses if step > 0), key=losses.__getitem__)
    assert best == 2 and there(folder.checkpoints) == [2, 4, 6]
    expected = {"step": 2, "eval_loss": losses[2], "path": str(folder.checkpoints / "step-00000002")}
    assert folder.result()["best"] == expected

    again = RunFolder(tmp_path / "again")
    shutil.copytree(folder.path, again.path)
    again.result_file.unlink()
    shutil.rmtree(again.checkpoints / "step-00000006")
    train(again, attempt=2)
    assert there(again.checkpoints) == [2, 4, 6]
    assert again.result()["best"] == expected | {"path": str(again.checkpoints / "step-00000002")}
    assert read_json(again.checkpoints / "step-00000006" / "resume.json")["tokens"] == folder.result()["tokens"]


@pytest.mark.train
def test_early_stopping_goes_on_counting_where_a_notice_came_before_an_evaluation(tmp_path: Path) -> None:
    """Told to leave, a run saves first, and the next attempt evaluates: however it is cut, it stops where it would."""
    whole, folder = (evaluating(tmp_path, name, 400, patience=12) for name in ("whole", "cut"))
    train(whole)
    attempt, told = 0, 0
    while not folder.result():
        attempt += 1
        workers = start_workers(folder, attempt=attempt)
        until = time.monotonic() + 120
        seen = len(eval_losses(folder))
        while workers[0].is_alive() and len(eval_losses(folder)) < seen + 2 and time.monotonic() < until:
            time.sleep(0.005)
        pid = workers[0].pid
        assert pid is not None
        if workers[0].is_alive() and told < 2:
            os.kill(pid, signal.SIGUSR2)
            told += 1
        assert wait(workers) == [0], logs(folder, attempt)
    assert attempt > 1
    assert (folder.result()["step"], folder.result()["status"]) == (whole.result()["step"], "completed")
    assert whole.result()["step"] == 24
    assert eval_losses(folder) == eval_losses(whole)
