"""Sweeps on this machine: trials one after another, exit codes, and going on after an interruption."""

import json
from pathlib import Path
from typing import Any

import pytest

from launcher.cli import main
from launcher.resolve import Resolved
from sweeps import one_by_one
from sweeps.folder import SweepFolder, run_of
from tests.tiny import tiny_llama, tiny_rows

LINE = ["+model=smollm2_135m", "cluster=local", "site.prepare=run", "-m", "seed=1,2,3"]


def answers(monkeypatch: pytest.MonkeyPatch, *codes: int) -> list[int]:
    """Let the trials end with these codes; gives the seeds of those that were started."""
    seeds: list[int] = []

    def launch(run: Resolved, json: bool) -> int:
        seeds.append(run.config.seed)
        print("what a run prints")
        return codes[len(seeds) - 1]

    monkeypatch.setattr(one_by_one, "launch", launch)
    return seeds


def test_a_failed_trial_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    seeds = answers(monkeypatch, 4, 0, 0)
    assert main([*LINE, "--json"]) == 4
    assert seeds == [1, 2, 3]
    assert json.loads(capsys.readouterr().out)["failed"] == [0]


def test_an_interruption_stops_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seeds = answers(monkeypatch, 0, 130)
    assert main(LINE) == 130
    assert seeds == [1, 2]


@pytest.mark.train
def test_trials_are_trained_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURMWRIGHT_STORE", str(tmp_path / "store"))
    model, rows = tiny_llama(tmp_path / "tiny"), tiny_rows(tmp_path / "rows.jsonl", 16)
    line = [
        "model=hf", f"model.id={model}", "data=file", f"data.path={rows}", "data.max_length=64", "batch.global=2",
        "method.max_steps=2", "tracking=none", "cluster=local", "-m", "adapter.r=2,4",
    ]  # fmt: skip

    def told() -> dict[str, Any]:
        capfd.readouterr()
        assert main([*line, "--json"]) == 0
        document: dict[str, Any] = json.loads(capfd.readouterr().out)
        return document

    first = told()
    assert (first["ran"], first["failed"]) == (2, [])
    sweep = SweepFolder(first["folder"])
    results = [run_of(sweep, trial).result() for trial in sweep.trials()]
    assert [result["status"] for result in results] == ["completed", "completed"]
    assert (told()["ran"], told()["finished"]) == (0, 2)
