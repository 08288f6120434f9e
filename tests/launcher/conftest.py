"""A store that the command `stage` has filled from a hub that is gone since: made once a session."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.hub.repository import Repository
from tests.hub.server import TOKEN, serving
from tests.tiny import tiny_llama, tiny_rows

REPOSITORY = Path(__file__).parents[2]
WORDS = ("+model=hf", "model.id=org/tiny", "data=hub", "data.path=org/rows", "data.max_length=64")


@dataclass
class Staged:
    """What `stage` left behind."""

    store: Path
    answer: dict[str, Any]
    """Its JSON document."""
    said: str
    """Its stderr."""
    commit: str
    """The model's commit on the hub."""
    bundle: Path
    """A bundle of the store in parts of 100 KiB."""

    @property
    def weights(self) -> Path:
        """The one large file."""
        return next(self.store.glob("models/*/model.safetensors"))


@pytest.fixture(scope="session")
def staged_once(tmp_path_factory: pytest.TempPathFactory) -> Staged:
    """A gated model and a dataset of the hub, staged and packed by the command; the hub is down afterwards."""
    home = tmp_path_factory.mktemp("staged")
    model = Repository.of_folder(tiny_llama(home / "tiny"), gated=True)
    rows = Repository({"train.jsonl": tiny_rows(home / "rows.jsonl", 40).read_bytes()}, kind="datasets")
    with serving() as hub:
        hub.add("org/tiny", model)
        hub.add("org/rows", rows)
        environment = {
            **os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HOME": str(home / "hf"),
            "PYTHONPATH": str(REPOSITORY),
        }  # fmt: skip
        command = [sys.executable, "-m", "launcher", "stage", *WORDS, "--store", str(home / "store")]
        command += ["--bundle", str(home / "packed" / "tiny.bundle"), "--part-size", "100K", "--json"]
        done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(home / "hf")
    bundle = home / "packed" / "tiny.bundle"
    return Staged(home / "store", json.loads(done.stdout), done.stderr, model.commit, bundle)


@pytest.fixture
def staged(staged_once: Staged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Staged]:
    """A copy of the store for one test, which is the store of commands, with no hub in reach."""
    store = tmp_path / "store"
    shutil.copytree(staged_once.store, store)
    bundle = tmp_path / "packed"
    shutil.copytree(staged_once.bundle.parent, bundle)
    monkeypatch.setenv("SLURMWRIGHT_STORE", str(store))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield Staged(store, staged_once.answer, staged_once.said, staged_once.commit, bundle / staged_once.bundle.name)
