"""Runs tracked offline, sent later: our tracker, `launcher sync` and wandb itself, against a server of this machine."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher import cli
from tests.launcher.folders import run
from tests.trainer.test_tracking import config, record
from tests.trainer.wandb_server import Service, serving

pytestmark = pytest.mark.train

KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """W&B's server, as a person names it: by the environment alone."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with serving(KEY) as found:
        monkeypatch.setenv("WANDB_BASE_URL", found.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "home"))
        yield found


def sync(capsys: pytest.CaptureFixture[str], root: Path, expect: int = 0) -> dict[str, Any]:
    """`python -m launcher sync --json`: what it says of the one run there."""
    code = cli.main(["sync", "--root", str(root), "--json"])
    said = capsys.readouterr()
    assert code == expect, said.err
    [found] = json.loads(said.out)["runs"]
    assert isinstance(found, dict)
    return found


def test_attempts_that_were_tracked_offline_become_one_run(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first was killed amid its last record, the second goes on after step 2: nothing else is lost, and the order
    is kept."""
    folder = run(tmp_path / "runs", "mine")
    made = config(name="wandb", project="docs")
    record(folder, made, attempt=1, step=0, losses=[3.0, 2.5, 2.0])
    [file] = folder.tracking.glob("wandb/offline-run-*/run-*.wandb")
    os.truncate(file, file.stat().st_size - 3)
    record(folder, made, attempt=2, step=2, losses=[2.0, 1.5])
    folder.result_file.write_text('{"status": "completed"}')
    assert not service.runs, "offline means that nothing is sent"
    found = sync(capsys, tmp_path / "runs")
    assert len(found["sent"]) == 2 and not found["waiting"]
    assert list(service.runs) == [folder.id] and service.runs[folder.id].project == "docs"
    points = service.runs[folder.id].points("train/loss")
    assert points == [(1, 3.0), (2, 2.5), (3, 2.0), (3, 2.0), (4, 1.5)]
    assert service.runs[folder.id].points("eval/loss") == [(3, 2.5), (4, 2.5)]
    sync(capsys, tmp_path / "runs")
    assert service.runs[folder.id].points("train/loss") == points, "once"
    assert not list(Path.cwd().iterdir()), "wandb's own logs stay out of the folder in which a person types"
    assert not any(KEY.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_token_that_is_not_known_is_said_and_nothing_is_lost(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run(tmp_path / "runs", "mine")
    record(folder, config(name="wandb"), attempt=1, step=0, losses=[3.0])
    folder.result_file.write_text('{"status": "completed"}')
    monkeypatch.setenv("WANDB_API_KEY", KEY[::-1])
    found = sync(capsys, tmp_path / "runs", expect=3)
    assert len(found["waiting"]) == 1 and "this token is not known" in found["error"]
    assert KEY[::-1] not in found["error"]
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert sync(capsys, tmp_path / "runs")["error"] is None
    assert service.runs[folder.id].points("train/loss") == [(1, 3.0)]
