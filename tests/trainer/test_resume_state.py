"""resume.json: its version, what older checkpoints had, and that nothing in a checkpoint runs code."""

import io
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from conf.folder import RunFolder, read_json
from tests.trainer.runs import make_run, start_workers, train, wait
from trainer import checkpoint, resume
from trainer.failure import WorkerError
from trainer.pickles import why_unsafe
from trainer.resume import Best, ResumeState


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Adapter; checkpoints of steps 2 and 4."""
    folder = make_run(tmp_path_factory.mktemp("resume"), "trained", method={"max_steps": 4})
    train(folder)
    return folder


def copy(trained: RunFolder, name: str) -> RunFolder:
    folder = RunFolder(trained.path.parent / name)
    shutil.copytree(trained.path, folder.path)
    folder.result_file.unlink()
    return folder


def replace(path: Path, name: str, content: bytes) -> None:
    """Put another file into a committed checkpoint that verifies all the same."""
    step = checkpoint.step_of(path)
    written = path.with_name(".partial-other")
    os.rename(path, written)
    (written / name).write_bytes(content)
    (written / checkpoint.DIGESTS).unlink()
    checkpoint.commit(written, path.parent, step)
    assert checkpoint.why_damaged(path) is None


def zipped(value: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    state = ResumeState(7, "ddp", 2, 1, 2, 1, 28, 24, 999, 1.5, 6, Best(6, 2.5), 2.5, 1)
    resume.write(tmp_path, state)
    assert resume.read(tmp_path) == state
    assert read_json(tmp_path / resume.FILE)["passes"] == pytest.approx(28 / 24, abs=1e-6)
    assert "24 sequences a pass" in str(resume.why_other_rows(state, 25))
    assert resume.why_other_rows(state, 24) is None


def test_a_checkpoint_of_the_time_before_versions_is_read(tmp_path: Path) -> None:
    (tmp_path / "layout.json").write_text('{"strategy": "zero2", "world": 4}')
    kept = {"EarlyStopping": {"args": {"patience": 3}, "attributes": {"best": 2.25, "waited": 1}}}
    (tmp_path / "trainer_state.json").write_text(
        json.dumps({"global_step": 8, "eval_steps": 4, "stateful_callbacks": kept})
    )
    assert resume.read(tmp_path) == ResumeState(8, "zero2", 4, evaluated=8, lowest=2.25, waited=1)


@pytest.mark.parametrize("text", ["", "[]", '{"version": 1}', '{"version": 1, "passes": 0, "best": null, "x": 1}'])
def test_what_is_no_resume_state_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / resume.FILE).write_text(text)
    with pytest.raises(WorkerError, match=r"resume\.json cannot be read .*move .* away"):
        resume.read(tmp_path)


@pytest.mark.train
def test_a_newer_checkpoint_is_refused(trained: RunFolder) -> None:
    folder = copy(trained, "newer")
    values = read_json(folder.checkpoints / "step-00000004" / resume.FILE) | {"version": 2}
    replace(folder.checkpoints / "step-00000004", resume.FILE, json.dumps(values).encode())
    assert wait(start_workers(folder, attempt=2)) == [1]
    message = read_json(folder.attempt_folder(2) / "failure-0.json")["message"]
    assert "newer Slurmwright" in message and "version 2" in message and "Upgrade" in message
    assert (folder.checkpoints / "step-00000004").is_dir()


@pytest.mark.train
@pytest.mark.parametrize("name", ["optimizer.pt", "rng_state.pth", "scheduler.pt"])
@pytest.mark.parametrize("form", [zipped, pickle.dumps], ids=["zip", "plain"])
def test_code_in_a_checkpoint_is_not_run(
    trained: RunFolder, tmp_path: Path, name: str, form: Callable[[Any], bytes]
) -> None:
    path = copy(trained, f"evil-{name}-{form.__name__}").checkpoints / "step-00000004"
    assert why_unsafe(path) is None
    replace(path, name, form(Evil(tmp_path / "ran")))
    assert name in str(why_unsafe(path)) and "run" in str(why_unsafe(path))
    assert not (tmp_path / "ran").exists()


@pytest.mark.train
def test_a_checkpoint_with_code_in_it_is_skipped_for_the_one_before(trained: RunFolder, tmp_path: Path) -> None:
    folder = copy(trained, "evil")
    replace(folder.checkpoints / "step-00000004", "optimizer.pt", zipped({"state": Evil(tmp_path / "ran")}))
    train(folder, attempt=2)
    [skipped] = [event for event in folder.events() if event["event"] == "checkpoint_skipped"]
    assert "optimizer.pt would run posix.mkdir" in skipped["why"] and Path(skipped["path"]).is_dir()
    assert [event["step"] for event in folder.events() if event["event"] == "resumed"] == [2]
    assert not (tmp_path / "ran").exists()


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    from torch.distributed.checkpoint.filesystem import FileSystemWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    state = {"weight": torch.ones(4), "betas": (0.9, 0.95), "name": "adamw"}
    save(state, storage_writer=FileSystemWriter(tmp_path / "checkpoint" / "optimizer_0"), no_dist=True)
    return tmp_path / "checkpoint"


def test_a_sharded_checkpoint_is_safe(sharded: Path) -> None:
    assert why_unsafe(sharded) is None


def test_code_in_the_index_of_shards_is_not_run(sharded: Path, tmp_path: Path) -> None:
    (sharded / "optimizer_0" / ".metadata").write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    assert "optimizer_0/.metadata would run posix.mkdir" in str(why_unsafe(sharded))
    assert not (tmp_path / "ran").exists()


def test_code_in_an_item_of_a_shard_is_not_run(sharded: Path, tmp_path: Path) -> None:
    index = sharded / "optimizer_0" / ".metadata"
    metadata = pickle.loads(index.read_bytes())  # noqa: S301  # written by the fixture
    content = zipped(Evil(tmp_path / "ran"))
    (sharded / "optimizer_0" / "__9_0.distcp").write_bytes(content)
    for item, place in metadata.storage_data.items():
        if item.fqn == "betas":
            place.relative_path, place.offset, place.length = "__9_0.distcp", 0, len(content)
    index.write_bytes(pickle.dumps(metadata))
    assert "optimizer_0/.metadata could run code" in str(why_unsafe(sharded))
    for place in metadata.storage_data.values():
        place.relative_path = "../../elsewhere"
    index.write_bytes(pickle.dumps(metadata))
    assert "outside of the checkpoint" in str(why_unsafe(sharded))
    assert not (tmp_path / "ran").exists()
