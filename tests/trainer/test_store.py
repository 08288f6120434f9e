"""The store: made once, complete or absent, safe when two make the same and when one of them is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.store import Store, digest_of, files_under

ROOT = Path(__file__).parents[2]
MAKER = """
import sys, time
from pathlib import Path
from trainer.store import Store

def build(folder):
    with open(sys.argv[2], "a") as file:
        file.write("built\\n")
    print("building", flush=True)
    time.sleep(float(sys.argv[3]))
    (folder / "a").write_text("content")

print(Store(sys.argv[1]).make("models", {"id": 1}, build).digest)
"""


def start(root: Path, tally: Path, seconds: float) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", MAKER, str(root), str(tally), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def write(text: str, name: str = "a"):  # type: ignore[no-untyped-def]
    def build(folder: Path) -> None:
        (folder / "below").mkdir()
        (folder / "below" / name).write_text(text)

    return build


def refuse(folder: Path) -> None:
    raise AssertionError("made twice")


def test_made_once_and_found_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    made = store.make("models", {"id": "x"}, write("one"))
    assert made.path == tmp_path / "store" / "models" / made.digest
    assert (made.path / "below" / "a").read_text() == "one"
    assert store.make("models", {"id": "x"}, refuse) == made
    assert Store(tmp_path / "store").find("models", {"id": "x"}) == made
    assert store.find("models", {"id": "y"}) is None
    assert store.find("data", {"id": "x"}) is None


def test_digest_is_of_names_and_contents_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one = store.make("models", {"id": "x"}, write("one"))
    assert store.make("models", {"id": "another way to it"}, write("one")) == one
    assert store.make("models", {"id": "y"}, write("two")).digest != one.digest
    assert store.make("models", {"id": "z"}, write("one", name="b")).digest != one.digest
    assert digest_of(one.path, files_under(one.path)) == one.digest


def test_what_fails_leaves_nothing_and_can_be_tried_again(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def half(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise ValueError("broken off")

    with pytest.raises(ValueError, match="broken off"):
        store.make("models", {"id": "x"}, half)
    assert list((tmp_path / "models").iterdir()) == []
    assert store.find("models", {"id": "x"}) is None
    assert store.make("models", {"id": "x"}, write("one")).path.is_dir()


def test_what_was_removed_is_made_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = store.make("models", {"id": "x"}, write("one"))
    (made.path / "below" / "a").unlink()
    (made.path / "below").rmdir()
    made.path.rmdir()
    assert store.find("models", {"id": "x"}) is None
    assert store.make("models", {"id": "x"}, write("one")) == made


def test_folders_are_for_their_owner_alone(tmp_path: Path) -> None:
    made = Store(tmp_path / "store").make("models", {"id": "x"}, write("one"))
    for folder in (tmp_path / "store", tmp_path / "store" / "models", made.path, made.path / "below"):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert (made.path / "below" / "a").stat().st_mode & 0o777 == 0o600


def test_two_at_once_do_the_work_once(tmp_path: Path) -> None:
    tally = tmp_path / "tally"
    both = [start(tmp_path / "store", tally, 1.0) for _ in range(2)]
    said = [process.communicate(timeout=180)[0].split()[-1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0] == said[1]
    assert tally.read_text() == "built\n"


def test_a_killed_holder_neither_blocks_nor_leaves_its_half(tmp_path: Path) -> None:
    tally = tmp_path / "tally"
    first = start(tmp_path / "store", tally, 300.0)
    assert first.stdout is not None
    with first:
        assert first.stdout.readline() == "building\n"
        os.kill(first.pid, signal.SIGKILL)
    assert len(list((tmp_path / "store" / "models").glob(".partial-*"))) == 1
    second = start(tmp_path / "store", tally, 0.0)
    assert second.communicate(timeout=180)[0].startswith("building")
    assert second.returncode == 0
    assert len(list((tmp_path / "store" / "models").iterdir())) == 1


def test_without_locks_the_work_is_still_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(handle: int, operation: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("trainer.store.fcntl.flock", flock)
    assert Store(tmp_path).make("models", {"id": "x"}, write("one")).path.is_dir()


def test_adopted_folder_stays_where_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "a").write_text("one")
    store = Store(tmp_path / "store")
    entry = store.adopt("models", {"folder": "mine"}, folder, [folder / "a"])
    assert entry.path == folder
    assert store.find("models", {"folder": "mine"}) == entry
