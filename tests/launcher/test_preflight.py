"""Preflight: Slurm is asked whether it would take the job, and its refusal is said with the field to look at."""

from pathlib import Path
from typing import Any

import pytest

from launcher.errors import InputError, SiteError
from launcher.preflight import check
from tests.launcher.fakes import FakeSlurm
from tests.launcher.folders import config


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = FakeSlurm(tmp_path / "bin")
    fake.install(monkeypatch)
    return fake


def test_slurm_is_asked_about_the_very_script(slurm: FakeSlurm) -> None:
    assert check(config()) == []
    (call,) = slurm.calls("sbatch")
    assert call[0] == "--test-only"
    assert slurm.submitted() == []
    assert not Path(call[-1]).exists()


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ("allocation failure: Invalid partition name specified", "site.partition"),
        ("allocation failure: Invalid account or account/partition combination specified", "site.account"),
        ("allocation failure: Requested time limit is invalid (missing or exceeds some limit)", "cluster.time"),
        ("allocation failure: Requested node configuration is not available", "cluster.nodes"),
        ("error: Memory specification can not be satisfied", "site.mem"),
    ],
)
def test_a_refusal_names_the_field(said: str, field: str, slurm: FakeSlurm) -> None:
    slurm.answer("sbatch", 1, f"sbatch: {said}\n")
    with pytest.raises(SiteError, match=field) as error:
        check(config())
    assert said in error.value.message


def test_without_slurm_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SiteError, match="cluster=local"):
        check(config())
    assert check(config(cluster={"kind": "local"})) == []


@pytest.mark.parametrize(
    ("groups", "field"),
    [
        ({"run": {"root": "/a\\b"}}, "run.root"),
        ({"store": {"root": "/a\nb"}}, "store.root"),
        ({"run": {"root": "/a:b"}, "site": {"container": {"kind": "pyxis", "image": "x"}}}, "run.root"),
        ({"cluster": {"kind": "local"}, "site": {"python": "/no/python"}}, "site.python"),
    ],
)
def test_places_that_cannot_work_are_problems(groups: dict[str, Any], field: str, slurm: FakeSlurm) -> None:
    (problem,) = check(config(**groups))
    assert problem.field == field
    assert slurm.calls("sbatch") == []


def test_devices_of_an_allocation_that_nobody_would_use_are_warned_of(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert check(config(cluster={"kind": "here"})) == []
    monkeypatch.setenv("SLURM_GPUS_ON_NODE", "8")
    (problem,) = check(config(cluster={"kind": "here"}))
    assert problem.warning
    assert "gpu=h100" in problem.message
    assert check(config(cluster={"kind": "here"}, gpu={"name": "h100", "type": "h100"})) == []


def test_here_needs_an_allocation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(InputError, match="salloc"):
        check(config(cluster={"kind": "here"}))
