"""Submission: what is started, what is said, and that nothing is started twice."""

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from conf.folder import RunFolder, write_json
from launcher import submit
from launcher.cli import main
from launcher.errors import AssetsMissing
from launcher.freeze import claim, freeze
from launcher.submit import relaunch
from tests.launcher.fakes import FakeSlurm

COMMAND = ["+model=smollm2_135m", "+cluster=2x8xh100", "site.prepare=run", "name=mine"]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("SLURM", "SBATCH"))]:
        monkeypatch.delenv(name)
    fake = FakeSlurm(tmp_path / "bin")
    fake.install(monkeypatch)
    monkeypatch.setattr(submit, "freeze", partial(freeze, wait=0))
    return fake


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "runs" / "mine")


def queued(slurm: FakeSlurm, folder: RunFolder, job_id: str, reason: str = "Priority") -> None:
    """Let squeue show a pending job of the run."""
    fields = (job_id, "PENDING", reason, "N/A", "", str(folder.code), folder.id)
    slurm.answer("squeue", 0, "\x1f".join(fields) + "\n")


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    assert main([*words, "--json"]) == code
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_a_run_is_frozen_and_submitted_once(
    slurm: FakeSlurm, folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(COMMAND) == 0
    assert "1001" in capsys.readouterr().out
    (call,) = slurm.submitted()
    assert f"--chdir={folder.code}" in call
    assert str(folder.script) in call
    (event,) = folder.events()
    assert (event["event"], event["job_id"]) == ("submitted", "1001")
    assert not (folder.path / ".submitting").exists()


def test_what_is_queued_is_not_submitted_again(
    slurm: FakeSlurm, folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(COMMAND) == 0
    capsys.readouterr()
    queued(slurm, folder, "1001")
    document = said(capsys, *COMMAND, "cluster.time=30")
    assert (document["status"], document["job_id"], document["run_id"]) == ("queued", "1001", "mine")
    assert len(slurm.submitted()) == 1
    assert folder.config().cluster.time != "30"


def test_a_job_that_slurm_holds_after_a_failed_launch_is_released(
    slurm: FakeSlurm, folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Slurm 22.05 says it; one that a person holds stays held."""
    assert main(COMMAND) == 0
    queued(slurm, folder, "1001", "JobHeldUser")
    assert main(["resume", "mine"]) == 0
    assert slurm.calls("scontrol") == []
    queued(slurm, folder, "1001", "launch failed requeued held")
    capsys.readouterr()
    assert main(["status", "mine"]) == 0
    assert "a node could not start it" in " ".join(capsys.readouterr().out.split())
    assert main(["resume", "mine"]) == 0
    assert "Slurm held job 1001, which a node could not start; it is released" in capsys.readouterr().err
    assert slurm.calls("scontrol") == [["release", "1001"]]
    assert len(slurm.submitted()) == 1


def test_what_is_finished_says_so_and_needs_no_slurm(
    slurm: FakeSlurm, folder: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(COMMAND) == 0
    write_json(folder.result_file, {"status": "completed", "cause": "completed", "step": 7, "eval_loss": 1.5})
    monkeypatch.setenv("PATH", "/nonexistent")
    capsys.readouterr()
    assert said(capsys, *COMMAND)["result"]["step"] == 7
    assert main(COMMAND) == 0
    out, err = capsys.readouterr()
    assert "finished" in err
    assert "1.5" in out
    assert len(slurm.submitted()) == 1


def test_what_failed_goes_on_in_its_folder(
    slurm: FakeSlurm, folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(COMMAND) == 0
    capsys.readouterr()
    (folder.checkpoints / "step-00000010").mkdir()
    write_json(folder.result_file, {"status": "failed", "cause": "worker_crash", "step": 12})
    write_json(folder.stop_file, {"reason": "stopped"})
    assert said(capsys, *COMMAND, "cluster.time=30")["job_id"] == "1002"
    assert folder.config().cluster.time == "30"
    assert "#SBATCH --time=30\n" in folder.script.read_text()
    assert not folder.result()
    assert not folder.stop_file.exists()
    assert (folder.checkpoints / "step-00000010").is_dir()
    assert [event["job_id"] for event in folder.events()] == ["1001", "1002"]


def test_resume_takes_new_fields_and_no_others(
    slurm: FakeSlurm, folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(COMMAND) == 0
    assert relaunch(folder, ["site.qos=high"]) == 0
    assert "#SBATCH --qos=high\n" in folder.script.read_text()
    assert len(slurm.submitted()) == 2
    capsys.readouterr()
    assert main(["resume", "mine", "adapter.r=3", "site.quos=x"]) == 2
    assert "did you mean site.qos?" in capsys.readouterr().err
    assert main(["resume", "mine", "adapter.r=3"]) == 2
    assert "another identity" in capsys.readouterr().err
    assert main(["resume", "mine", "name=other"]) == 2
    assert len(slurm.submitted()) == 2


def test_resume_keeps_the_layout_that_wrote_the_checkpoints(
    slurm: FakeSlurm, folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*COMMAND, "parallel=fsdp2"]) == 0
    (folder.checkpoints / "step-00000010").mkdir(parents=True)
    capsys.readouterr()
    # For one device, `auto` alone would choose ddp.
    assert relaunch(folder, ["cluster.nodes=1", "cluster.devices_per_node=1"]) == 0
    assert folder.config().parallel.strategy == "fsdp2"
    assert main(["resume", "mine", "parallel=zero2"]) == 2
    words = capsys.readouterr().err
    assert "parallel.strategy" in words and "which parallel=fsdp2 wrote: type parallel=fsdp2" in words
    assert main(["resume", "mine", "cluster.nodes=3"]) == 2
    words = capsys.readouterr().err
    assert "batch.global=16 does not divide by 3 workers" in words and "devices = 1 or 2 or 4 or 8 or 16" in words
    assert len(slurm.submitted()) == 2


def test_nothing_is_left_behind_where_slurm_would_refuse(
    slurm: FakeSlurm, folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm.answer("sbatch", 1, "sbatch: error: invalid partition specified: nope\n")
    assert main([*COMMAND, "site.partition=nope"]) == 3
    assert "site.partition" in capsys.readouterr().err
    assert not folder.path.exists()


def test_without_slurm(folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert main(COMMAND) == 3
    assert not folder.path.exists()


def test_a_launcher_that_died_after_sbatch_is_completed(
    slurm: FakeSlurm, folder: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("launcher.slurm.submit.submit", killed)
        assert main(COMMAND) == 130
    assert folder.events() == []
    queued(slurm, folder, "4321")
    capsys.readouterr()
    assert said(capsys, *COMMAND)["job_id"] == "4321"
    assert slurm.submitted() == []
    assert [event["job_id"] for event in folder.events()] == ["4321"]


def test_a_launcher_that_died_before_sbatch_is_repeated(
    slurm: FakeSlurm, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("launcher.slurm.submit.submit", killed)
        assert main(COMMAND) == 130
    assert main(COMMAND) == 0
    assert [event["job_id"] for event in folder.events()] == ["1001"]


def test_a_run_in_the_hands_of_another_launcher_is_left_to_it(
    slurm: FakeSlurm, folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(COMMAND) == 0
    handle = claim(folder.path, 0)
    assert handle is not None
    capsys.readouterr()
    assert said(capsys, *COMMAND)["status"] == "submitting"
    assert len(slurm.submitted()) == 1
    os.close(handle)


def test_preparation_comes_before_submission_and_its_failure_instead_of_it(
    slurm: FakeSlurm, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def missing(_folder: RunFolder, words: list[str], quiet: bool) -> None:
        asked.append(words)
        raise AssetsMissing("no weights")

    monkeypatch.setattr(submit, "run_trainer", missing)
    command = [word for word in COMMAND if "prepare" not in word]
    assert main(command) == 5
    assert asked == [["prepare", str(folder.path)]]
    assert slurm.submitted() == []
    monkeypatch.setattr(submit, "run_trainer", lambda *_args, **_more: None)
    assert main(command) == 0
    assert len(slurm.submitted()) == 1


def test_what_is_prepared_is_not_prepared_again(
    slurm: FakeSlurm, folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record(_folder: RunFolder, _words: list[str], quiet: bool) -> None:
        asked.append(1)
        assets = {name: {"path": str(tmp_path)} for name in ("model", "data")}
        write_json(folder.manifest_file, folder.manifest() | {"assets": assets})

    asked: list[int] = []
    monkeypatch.setattr(submit, "run_trainer", record)
    command = [word for word in COMMAND if "prepare" not in word]
    assert main(command) == 0
    assert main(command) == 0
    assert len(asked) == 1
    assert len(slurm.submitted()) == 2


def test_code_changed_since_is_taken_and_told(
    slurm: FakeSlurm, folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(COMMAND) == 0
    write_json(folder.manifest_file, folder.manifest() | {"code_digest": "before"})
    capsys.readouterr()
    assert main(COMMAND) == 0
    assert "code as it is now" in capsys.readouterr().err
    assert folder.manifest()["code_digest"] != "before"


@pytest.mark.parametrize(("error", "code"), [(AssetsMissing("no weights"), 5), (KeyboardInterrupt(), 130)])
def test_a_run_that_cannot_be_prepared_does_not_stand_in_the_way_of_the_corrected_command(
    error: BaseException, code: int, slurm: FakeSlurm, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_more: object) -> None:
        raise error

    command = [word for word in COMMAND if "prepare" not in word]
    with monkeypatch.context() as patch:
        patch.setattr(submit, "run_trainer", fail)
        assert main(command) == code
    assert not folder.path.exists()
    assert main([*COMMAND, "seed=7"]) == 0  # another identity under the same name
    monkeypatch.setattr(submit, "run_trainer", fail)
    assert main([*command, "seed=7"]) == code
    assert folder.config_file.exists()  # what was there before stays
