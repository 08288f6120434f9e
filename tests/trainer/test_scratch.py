"""Copies on a node's own disk: whole or anew, made once, kept while read, gone when old or in the way."""

import getpass
import json
import os
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest

import trainer.scratch
from conf.folder import RunFolder, write_json
from conf.schema.run import RunConfig
from tests.trainer import runs
from trainer.job import Job
from trainer.scratch import KEPT, NoScratch, Scratch, bring
from trainer.store import Entry, Store

Usage = namedtuple("Usage", "total used free")


def entry(tmp_path: Path, name: str = "one") -> tuple[Entry, list[dict[str, object]]]:
    """Something in the store, and its listing."""
    store = Store(tmp_path / "store")

    def build(folder: Path) -> None:
        (folder / "inner").mkdir()
        (folder / "weights.safetensors").write_bytes(name.encode() * 1000)
        (folder / "inner" / "config.json").write_text("{}")

    made = store.make("models", {"name": name}, build)
    return made, store.listing(made)


def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path / "local", lambda: time.sleep(0.01))


def same(copy: Path, made: Entry) -> bool:
    """Whether a copy has the very bytes of what it is made from."""
    names = [path.relative_to(made.path) for path in made.path.rglob("*") if path.is_file()]
    return len(names) == 2 and all((copy / name).read_bytes() == (made.path / name).read_bytes() for name in names)


def test_a_copy_is_made_once_and_found(tmp_path: Path) -> None:
    made, files = entry(tmp_path)
    first, second = scratch(tmp_path), scratch(tmp_path)
    copy = first.hold(made, files)
    assert same(copy, made) and copy.is_relative_to(tmp_path / "local")
    assert second.hold(made, files) == copy
    assert (first.copied, second.copied) == (3002, 0)
    assert not list(copy.parent.glob(".partial-*"))


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_copy_is_made_anew(tmp_path: Path, damage: str) -> None:
    made, files = entry(tmp_path)
    first = scratch(tmp_path)
    weights = first.hold(made, files) / "weights.safetensors"
    whole = weights.read_bytes()
    if damage == "remove":
        weights.unlink()
    else:
        weights.write_bytes(b"x" + whole[1:] if damage == "flip" else whole[:-1])
    with pytest.raises(NoScratch, match="damaged, and another job reads it"):
        scratch(tmp_path).hold(made, files)
    first.release()
    assert same(scratch(tmp_path).hold(made, files), made)


def test_what_the_store_does_not_have_as_listed_is_not_copied(tmp_path: Path) -> None:
    made, files = entry(tmp_path)
    weights = made.path / "weights.safetensors"
    weights.write_bytes(b"x" + weights.read_bytes()[1:])
    with pytest.raises(NoScratch, match="not as the store lists it"):
        scratch(tmp_path).hold(made, files)
    assert [path.name for path in (tmp_path / "local").glob("*/*")] == ["locks"]


RACE = """
import json, sys, time
from pathlib import Path
from trainer.scratch import Scratch
from trainer.store import Entry
root, digest, path, files = sys.argv[1:]
scratch = Scratch(Path(root), lambda: time.sleep(0.01))
copy = scratch.hold(Entry(digest, Path(path)), json.loads(files))
print(copy, scratch.copied)
"""


def test_jobs_that_race_copy_once(tmp_path: Path) -> None:
    made, files = entry(tmp_path)
    words = [sys.executable, "-c", RACE, str(tmp_path / "local"), made.digest, str(made.path), json.dumps(files)]
    racers = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = [racer.communicate(timeout=180)[0].split() for racer in racers]
    assert sorted(int(copied) for _, copied in said) == [0, 0, 0, 3002]
    assert len({copy for copy, _ in said}) == 1 and same(Path(said[0][0]), made)


@pytest.mark.parametrize("reads_on", [True, False])
def test_a_copy_made_between_a_look_and_a_lock_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads_on: bool
) -> None:
    made, files = entry(tmp_path)
    maker, late = scratch(tmp_path), scratch(tmp_path)
    lock = trainer.scratch._lock

    def refused(handle: int, kind: int) -> bool:
        monkeypatch.setattr(trainer.scratch, "_lock", lock)
        maker.hold(made, files)
        if not reads_on:
            maker.release()
        return False

    monkeypatch.setattr(trainer.scratch, "_lock", refused)
    assert same(late.hold(made, files), made)
    assert (maker.copied, late.copied) == (3002, 0)


def test_old_copies_go_and_those_that_are_read_stay(tmp_path: Path) -> None:
    one, two, three = (entry(tmp_path, name) for name in ("one", "two", "three"))
    before, reader = scratch(tmp_path), scratch(tmp_path)
    gone, stays = before.hold(*one), reader.hold(*two)
    before.release()
    for digest in (one[0].digest, two[0].digest):
        long_ago = time.time() - KEPT - 60
        os.utime(gone.parent / "locks" / digest, (long_ago, long_ago))
    assert same(scratch(tmp_path).hold(*three), three[0])
    assert not gone.exists() and same(stays, two[0])


def test_a_full_disk_loses_the_longest_unused_then_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = entry(tmp_path, "one"), entry(tmp_path, "two")
    before = scratch(tmp_path)
    gone = before.hold(*one)

    def usage(path: Path) -> Usage:
        return Usage(10_000, 0, 1_000 if gone.exists() else 9_000)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    with pytest.raises(NoScratch, match="GB free"):
        scratch(tmp_path).hold(*two)
    assert gone.exists(), "it is read"
    before.release()
    assert same(scratch(tmp_path).hold(*two), two[0])
    assert not gone.exists()


def test_a_folder_that_others_can_write_to_is_not_used(tmp_path: Path) -> None:
    place = tmp_path / "local" / f"slurmwright-{os.getuid()}"
    place.mkdir(parents=True)
    place.chmod(0o777)
    with pytest.raises(NoScratch, match="others can write there"):
        scratch(tmp_path)


def test_a_disk_that_cannot_be_used_leaves_the_run_with_the_store(tmp_path: Path) -> None:
    made, _ = entry(tmp_path)
    (tmp_path / "local").write_text("a file where a folder should be")
    values = {"site": {"scratch": f"{tmp_path}/local/{{user}}/{{job}}"}, "store": {"root": str(tmp_path / "store")}}
    folder = RunFolder(tmp_path)
    write_json(folder.manifest_file, {"assets": {"model": {"digest": made.digest, "path": str(made.path)}}})
    job = Job(("n1",), job_id="7")
    brought, held = bring(RunConfig.model_validate(values), folder, job, lambda: None)
    assert (brought.paths, brought.copied, held) == ({}, 0, None)
    assert "Not a directory" in str(brought.why) and "read from the store" in brought.words
    (tmp_path / "local").unlink()
    brought, held = bring(RunConfig.model_validate(values), folder, job, lambda: None)
    assert held is not None and brought.why is None
    place = tmp_path / "local" / getpass.getuser() / "7" / f"slurmwright-{os.getuid()}"
    assert brought.paths == {"model": str(place / made.digest)}


@pytest.mark.train
def test_workers_read_the_copies_and_adapters_name_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = runs.make_run(tmp_path, "run", method={"max_steps": 1})
    assets = folder.manifest()["assets"]
    paths = {name: str(shutil.copytree(asset["path"], tmp_path / "copies" / name)) for name, asset in assets.items()}
    monkeypatch.setenv("SLURMWRIGHT_ASSETS", json.dumps(paths))
    emptied = Path(assets["model"]["path"]) / "model.safetensors"
    emptied.write_bytes(b"")
    runs.train_by_command(folder)
    base = json.loads((folder.adapter / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert base == assets["model"]["path"]
