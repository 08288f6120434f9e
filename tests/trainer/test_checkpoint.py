"""Checkpoints on disk: complete or invisible, damaged ones skipped and kept aside."""

import json
from pathlib import Path

import pytest

from trainer import checkpoint, resume
from trainer.resume import ResumeState
from trainer.retention import Retention


def write(checkpoints: Path, step: int) -> Path:
    written = checkpoint.partial_folder(checkpoints, step) / "checkpoint"
    (written / "global_step").mkdir(parents=True)
    (written / "model.bin").write_bytes(b"weights of step %d" % step)
    (written / "global_step" / "optimizer.bin").write_bytes(b"moments")
    return checkpoint.commit(written, checkpoints, step)


def nothing_skipped(path: Path, why: str) -> None:
    raise AssertionError(f"{path} skipped: {why}")


def test_a_committed_checkpoint_has_a_digest_of_every_file(tmp_path: Path) -> None:
    path = write(tmp_path, 120)
    assert path == tmp_path / "step-00000120"
    assert checkpoint.step_of(path) == 120
    assert sorted(json.loads((path / "digests.json").read_text())) == ["global_step/optimizer.bin", "model.bin"]
    assert checkpoint.why_damaged(path) is None


def test_what_is_not_committed_is_invisible_and_cleared(tmp_path: Path) -> None:
    partial = checkpoint.partial_folder(tmp_path, 7)
    partial.mkdir()
    (partial / "model.bin").write_bytes(b"half")
    assert checkpoint.committed(tmp_path) == []
    assert checkpoint.newest(tmp_path, nothing_skipped) is None
    checkpoint.clear_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_order_is_by_step_and_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (99_999_999, 100_000_000, 5):
        write(tmp_path, step)
    assert checkpoint.newest(tmp_path, nothing_skipped) == tmp_path / "step-100000000"
    Retention(tmp_path, 2).prune()
    assert [checkpoint.step_of(path) for path in checkpoint.committed(tmp_path)] == [99_999_999, 100_000_000]


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lambda path: (path / "model.bin").write_bytes(b"weightz of step 2"), "model.bin has changed"),
        (lambda path: (path / "model.bin").write_bytes(b""), "model.bin has changed"),
        (lambda path: (path / "global_step" / "optimizer.bin").unlink(), "optimizer.bin cannot be read"),
        (lambda path: (path / "digests.json").unlink(), "digests.json cannot be read"),
        (lambda path: (path / "digests.json").write_text("{"), "digests.json cannot be read"),
        (lambda path: (path / "digests.json").write_text("[1]"), "digests.json cannot be read"),
    ],
)
def test_a_damaged_checkpoint_is_set_aside_for_the_one_before(tmp_path: Path, harm, why: str) -> None:  # type: ignore[no-untyped-def]
    write(tmp_path, 1)
    harm(write(tmp_path, 2))
    skipped = []
    found = checkpoint.newest(tmp_path, lambda path, reason: skipped.append((path.name, reason)))
    assert found == tmp_path / "step-00000001"
    [(name, reason)] = skipped
    assert name == ".damaged-step-00000002" and why in reason
    assert (tmp_path / name).is_dir()
    assert checkpoint.newest(tmp_path, nothing_skipped) == found


def test_a_second_damaged_copy_does_not_replace_the_first(tmp_path: Path) -> None:
    names = [checkpoint.set_aside(write(tmp_path, 3)).name for _ in range(2)]
    assert names == [".damaged-step-00000003", ".damaged-step-00000003.1"]


def test_a_checkpoint_fits_the_strategy_that_wrote_it(tmp_path: Path) -> None:
    resume.write(tmp_path, ResumeState(step=1, strategy="fsdp2", world=2))
    assert checkpoint.why_unfit(tmp_path, "fsdp2") is None
    for strategy in ("ddp", "zero3"):
        assert "use parallel=fsdp2" in str(checkpoint.why_unfit(tmp_path, strategy))


def test_replacing_a_folder_leaves_one_whole(tmp_path: Path) -> None:
    final = tmp_path / "adapter"
    for text in ("old", "new"):
        written = tmp_path / ".partial-adapter"
        written.mkdir()
        (written / "weights").write_text(text)
        checkpoint.replace_folder(written, final)
    assert (final / "weights").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]
