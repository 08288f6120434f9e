"""`stage -m` and `verify -m`: a record for each set of weights and rows that trials of a sweep touch, and no more."""

import json
from pathlib import Path
from typing import Any

import pytest

from launcher import cli
from tests.launcher.fakes import FakeSlurm
from tests.tiny import tiny_llama, tiny_rows


def answer(capfd: pytest.CaptureFixture[str], *words: str, expect: int = 0) -> dict[str, Any]:
    """The JSON document of a command, and what it said beside it."""
    capfd.readouterr()
    code = cli.main([*words, "--json"])
    said = capfd.readouterr()
    assert code == expect, said.err
    document: dict[str, Any] = json.loads(said.out)
    return document | {"said": said.err}


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What says model and rows, with a store of their own."""
    monkeypatch.setenv("SLURMWRIGHT_STORE", str(tmp_path / "store"))
    rows = tiny_rows(tmp_path / "rows.jsonl", 40)
    return [f"model.id={tiny_llama(tmp_path / 'tiny')}", "+model=hf", "data=file", f"data.path={rows}"]


@pytest.mark.train
def test_all_that_trials_of_a_sweep_touch_is_staged_and_proved(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    swept = [*words, "data.max_length=32,64", "adapter.r=4,8,16", "-m"]
    staged = answer(capfd, "stage", *swept, "--bundle", str(tmp_path / "tiny.bundle"))
    assert len(staged["staged"]) == 2, "adapters share weights and rows"
    prepared = [asset["path"] for record in staged["staged"] for asset in record["assets"] if asset["kind"] == "data"]
    assert len(set(prepared)) == 2

    assert answer(capfd, "verify", *swept, "offline=true")["complete"] is True

    assert cli.main(["stage", *swept]) == 0
    listed = [line.split()[0] for line in capfd.readouterr().out.splitlines()]
    assert listed.count("models") == 1 and listed.count("data") == 2, "what is shared is listed once"

    unpacked = ["--store", str(tmp_path / "elsewhere")]
    answer(capfd, "stage", "--from-bundle", str(tmp_path / "tiny.bundle"), *unpacked)
    assert answer(capfd, "verify", *swept, "offline=true", *unpacked)["complete"] is True

    slurm = FakeSlurm(tmp_path / "bin")
    slurm.install(monkeypatch)
    missing = tmp_path / "store" / prepared[1]
    missing.rename(tmp_path / "gone")
    lacking = answer(capfd, "verify", *swept, "offline=true", expect=5)
    assert lacking["missing"] and all(Path(lack["file"]).is_relative_to(missing) for lack in lacking["missing"])
    assert "data.max_length=32,64 adapter.r=4,8,16 -m --store" in lacking["fix"]
    submitted = [*swept, "offline=true", "cluster=1xh100", f"run.root={tmp_path / 'runs'}"]
    refused = answer(capfd, *submitted, expect=5)
    assert str(missing) in refused["said"] + refused["error"]
    assert slurm.calls("sbatch") == []
    assert not (tmp_path / "runs").exists()


@pytest.mark.train
def test_a_search_has_what_its_choices_touch_staged_in_every_combination(
    words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    searched = ["sweep=tpe", "data.max_length=32,64", "seed=1,2", "method.learning_rate=tag(log,interval(1e-5,1e-3))"]
    assert len(answer(capfd, "stage", *words, *searched)["staged"]) == 4
    assert answer(capfd, "verify", *words, *searched, "offline=true")["complete"] is True


def test_flags_of_jobs_have_no_meaning_here(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["stage", "+model=smollm2_135m", "adapter.r=4,8", "-m", "--hold"]) == 2
    assert "--wait and --hold are for jobs, and this verb starts none" in capfd.readouterr().err
