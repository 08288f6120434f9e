"""Sweeps on this machine: trials one after another, exit codes, and going on after an interruption."""

import json
from pathlib import Path

import pytest

from conf.folder import RunFolder
from conf.schema.run import RunConfig
from launcher.cli import main
from launcher.resolve import Resolved
from sweeps import one_by_one, retry
from sweeps.cli import main as sweeps_main
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


def test_an_interrupted_trial_that_is_tried_again_stops_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answers(monkeypatch, 4, 4, 4)
    assert main([*LINE, "sweep.name=again"]) == 4
    started: list[str] = []

    def start(config: RunConfig, folder: RunFolder) -> int:
        started.append(folder.id)
        return 130

    monkeypatch.setattr(retry, "start_here", start)
    assert sweeps_main(["retry", "again"]) == 130
    assert len(started) == 1


@pytest.mark.train
def test_trials_are_trained_once_and_failed_ones_tried_again_by_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of two models one lacks its weights at first."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURMWRIGHT_STORE", str(tmp_path / "store"))
    model, lacking = tiny_llama(tmp_path / "tiny"), tiny_llama(tmp_path / "lacking", seed=1)
    weights = (lacking / "model.safetensors").rename(tmp_path / "weights")
    line = [
        "model=hf", f"model.id={model},{lacking}", "data=file", f"data.path={tiny_rows(tmp_path / 'rows.jsonl', 16)}",
        "data.max_length=64", "batch.global=2", "method.max_steps=2", "tracking=none", "cluster=local",
        "site.prepare=run", "sweep.name=two", "-m",
    ]  # fmt: skip
    capfd.readouterr()
    assert main([*line, "--json"]) == 4
    assert json.loads(capfd.readouterr().out)["failed"] == [1]
    weights.rename(lacking / "model.safetensors")
    assert sweeps_main(["retry", "two", "1", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert (document["ran"], document["finished"], document["failed"]) == (1, 1, [])
    results = [
        run_of(SweepFolder(document["folder"]), trial).result() for trial in SweepFolder(document["folder"]).trials()
    ]
    assert [result["status"] for result in results] == ["completed", "completed"]
    assert main([*line, "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert (document["ran"], document["finished"]) == (0, 2), "what is done is not done again"
