"""`sync`: folders that wandb wrote offline are sent once, by wandb's own command, and what was not is said."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conf.folder import RunFolder
from launcher import cli
from tests.launcher.fakes import FakeSlurm
from tests.launcher.folders import run, squeue_line, started, submitted

KEY = "a-secret-token"
FAKE = """#!/bin/sh
echo "$WANDB_MODE|$*" >>{calls}
[ -e {broken} ] && {{ echo "401: $WANDB_API_KEY is not known" >&2; exit 1; }}
[ -e {slow} ] && exec sleep 30
[ -e {refused} ] && {{ echo "wandb: ERROR the server answers 401" >&2; exit 0; }}
shift
for place; do for file in "$place"/*.wandb; do : >"$file.synced"; done; done
"""


@pytest.fixture
def wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program wandb in the PATH that notes how it is called; tests/trainer/test_tracking_sync.py has the real one."""
    names = {name: tmp_path / name for name in ("calls", "broken", "slow", "refused")}
    program = tmp_path / "bin" / "wandb"
    program.parent.mkdir()
    program.write_text(FAKE.format(**names))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", "offline")
    return tmp_path


def written(root: Path, name: str, attempts: int = 1) -> RunFolder:
    """A run that has ended, with what wandb writes for each of its attempts."""
    folder = run(root, name)
    folder.result_file.write_text('{"status": "completed"}')
    for number in range(attempts):
        place = folder.tracking / "wandb" / f"offline-run-2026010{number + 1}_000000-{name}"
        place.mkdir(parents=True)
        (place / f"run-{name}.wandb").write_bytes(b"records")
    return folder


def sync(capsys: pytest.CaptureFixture[str], root: Path, *words: str, expect: int = 0) -> tuple[dict[str, Any], str]:
    """`python -m launcher sync WORDS --json`, and its stderr."""
    code = cli.main(["sync", *words, "--root", str(root), "--json"])
    said = capsys.readouterr()
    assert code == expect, said.err
    assert KEY not in said.out + said.err
    return json.loads(said.out), said.err


def calls(wandb: Path) -> list[str]:
    return (wandb / "calls").read_text().splitlines() if (wandb / "calls").exists() else []


def test_each_run_is_sent_once_with_all_its_attempts(wandb: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two, one = written(wandb / "runs", "two", attempts=2), written(wandb / "runs", "one")
    run(wandb / "runs", "without")
    found, _ = sync(capsys, wandb / "runs", "--dry-run")
    assert {record["run_id"]: len(record["waiting"]) for record in found["runs"]} == {"two": 2, "one": 1}
    assert not calls(wandb)
    found, _ = sync(capsys, wandb / "runs")
    assert all(not record["waiting"] and not record["error"] for record in found["runs"])
    places = sorted((two.tracking / "wandb").iterdir())
    assert f"|sync {places[0]} {places[1]}" in calls(wandb), "in one call, and wandb is not told to stay offline"
    sync(capsys, wandb / "runs")
    assert len(calls(wandb)) == 2
    again = one.tracking / "wandb" / "offline-run-20260201_000000-one"
    again.mkdir()
    (again / "run-one.wandb").write_bytes(b"records of a third attempt")
    sync(capsys, wandb / "runs", "one")
    assert calls(wandb)[2:] == [f"|sync {again}"]
    assert not any(KEY.encode() in path.read_bytes() for path in (wandb / "runs").rglob("*") if path.is_file())


def test_what_was_sent_by_hand_is_not_sent_again(wandb: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written(wandb / "runs", "one")
    (next((folder.tracking / "wandb").iterdir()) / "run-one.wandb.synced").touch()
    found, _ = sync(capsys, wandb / "runs")
    assert found["runs"][0]["sent"] and not calls(wandb)


@pytest.mark.parametrize(
    ("how", "says"), [("broken", "401: ... is not known"), ("slow", "after 1 s"), ("refused", "the server answers 401")]
)
def test_what_was_not_sent_is_said_and_stays(
    wandb: Path, capsys: pytest.CaptureFixture[str], how: str, says: str
) -> None:
    written(wandb / "runs", "one")
    (wandb / how).touch()
    found, said = sync(capsys, wandb / "runs", "--timeout=1", expect=3)
    assert says in said and says in found["runs"][0]["error"]
    (wandb / how).unlink()
    found, _ = sync(capsys, wandb / "runs")
    assert found["runs"][0]["error"] is None and found["runs"][0]["sent"]


def test_no_token_sends_nothing(
    wandb: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written(wandb / "runs", "one")
    monkeypatch.delenv("WANDB_API_KEY")
    found, _ = sync(capsys, wandb / "runs", expect=2)
    assert "WANDB_API_KEY is not set" in found["error"] and not calls(wandb)


def test_a_run_that_writes_on_waits(
    wandb: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(wandb / "runs", "one")
    folder.result_file.unlink()
    started(submitted(folder))
    fake = FakeSlurm(wandb / "slurm")
    fake.install(monkeypatch)
    fake.answer("squeue", 0, squeue_line(folder, "1001", "RUNNING"))
    found, said = sync(capsys, wandb / "runs", expect=3)
    assert not calls(wandb), said
    assert "it is sent when it has ended" in found["runs"][0]["error"]


def test_what_wandb_itself_writes_offline_is_found(wandb: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The names of folders and files are wandb's: its real library writes them here."""
    pytest.importorskip("wandb")
    folder = run(wandb / "runs", "one")
    folder.result_file.write_text('{"status": "completed"}')
    folder.tracking.mkdir()
    line = "import wandb; r = wandb.init(mode='offline', id='one', project='p'); r.log({'a': 1}); r.finish()"
    variables = os.environ | {"WANDB_SILENT": "true", "WANDB_DIR": str(folder.tracking), "WANDB_CONSOLE": "off"}
    subprocess.run([sys.executable, "-c", line], env=variables, cwd=wandb, check=True, timeout=120, capture_output=True)
    found, _ = sync(capsys, wandb / "runs", "--dry-run")
    assert len(found["runs"][0]["waiting"]) == 1
