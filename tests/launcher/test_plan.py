"""The plan: what programs and people are told of a run before it is submitted."""

import json
from pathlib import Path
from typing import Any

import pytest

from launcher.cli import main


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLURMWRIGHT_CONFIG_DIR", raising=False)


def plan(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["plan", "--json", *words]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_the_fields_that_programs_read(capsys: pytest.CaptureFixture[str]) -> None:
    found = plan(capsys, "model=llama3_8b", "cluster=2x8xh100", "batch.global=64", "site.partition=gpu")
    assert found["run_id"] == f"llama3_8b-lora-python_docs-sft-{found['identity_digest'][:8]}"
    assert found["world_size"] == 16
    assert found["batch"] == {"global": 64, "micro": 2, "accumulation": 2}
    assert found["parallel"] == "ddp"
    assert found["sizes"] == {"parameters": 8030261248, "trainable_parameters": 41943040}
    assert found["memory"] == {"peak_gib": None, "parts": {}}
    assert found["time"] == {"hours": None, "gpu_hours": None}
    assert "not-estimated" in {warning["rule"] for warning in found["warnings"]}
    assert "#SBATCH --nodes=2\n" in found["script"]
    assert found["site"]["partition"] == "gpu"
    assert found["site"]["flags"]["gres"] == "gpu:h100:8"


def test_the_same_command_gives_the_same_plan_anywhere(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("model=smollm2_135m", "cluster=2x8xh100")
    first = plan(capsys, *words)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("HOME", str(elsewhere))
    monkeypatch.setenv("XDG_CACHE_HOME", str(elsewhere))
    second = plan(capsys, *words)
    assert first.pop("site") != second.pop("site")
    assert first == second
    assert str(tmp_path) not in json.dumps(second)


def test_no_script_where_there_is_no_slurm(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert plan(capsys, "model=smollm2_135m", "cluster=local")["script"] is None
    assert plan(capsys, "model=smollm2_135m", "cluster=8xh100")["script"].startswith("#!/bin/bash\n")


def test_people_see_sizes_batch_and_the_script(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["plan", "model=llama3_70b", "cluster=8xh100"]) == 0
    said, warned = capsys.readouterr()
    assert "70.55 G parameters" in said
    assert "8 = 1 micro x 1 accumulation x 8" in said
    assert "#SBATCH --gres=gpu:h100:8" in said
    assert "not estimated" in warned
    assert not list(tmp_path.iterdir())


def test_a_full_tune_trains_everything_and_the_unknown_stays_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    full = plan(capsys, "model=smollm2_135m", "cluster=local", "adapter=full")["sizes"]
    assert full["trainable_parameters"] == full["parameters"] == 134515008
    unknown = plan(capsys, "model=hf", "model.id=some/model", "cluster=local")["sizes"]
    assert unknown == {"parameters": None, "trainable_parameters": None}
