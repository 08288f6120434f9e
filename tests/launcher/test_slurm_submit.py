"""Submission: exactly one job, also where sbatch cannot say whether it was heard; and a clean environment for it."""

import threading
from pathlib import Path

import pytest

from conf.folder import RunFolder, write_json
from launcher import start
from launcher.environment import for_local, for_submission
from launcher.errors import InputError, SiteError
from launcher.slurm import sbatch
from launcher.slurm.sbatch import read_job_id
from launcher.slurm.submit import dependencies, submit
from tests.launcher.fakes import FakeSlurm
from tests.launcher.folders import config, ended, result, run, squeue_line, started, submitted

TIMED_OUT = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n"


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    monkeypatch.setattr(sbatch, "PAUSE", 0.0)
    fake = FakeSlurm(tmp_path / "bin")
    fake.install(monkeypatch)
    return fake


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return run(tmp_path / "runs")


@pytest.mark.parametrize(
    "said",
    ["123\n", "123;cluster\n", "Welcome!\n\n123\n", "sbatch: 1 GPU hour costs 1\n123;c\n", "Submitted batch job 123\n"],
)
def test_the_job_id_is_found(said: str) -> None:
    assert read_job_id(said) == "123"


@pytest.mark.parametrize("said", ["", "nothing\n", "12x\n"])
def test_no_job_id_is_an_error(said: str) -> None:
    with pytest.raises(SiteError, match="squeue --me"):
        read_job_id(said)


def test_what_is_submitted_lies_in_the_folder(slurm: FakeSlurm, folder: RunFolder) -> None:
    assert submit(config(), folder) == "1001"
    (call,) = slurm.submitted()
    assert call[call.index(str(folder.script)) + 1] == str(folder.path)
    assert f"#SBATCH --job-name={folder.id}\n" in folder.script.read_text()
    (event,) = folder.events()
    assert (event["event"], event["job_id"], event["attempt"]) == ("submitted", "1001", 1)
    assert event["command"] == ["sbatch", *call]


def test_an_answer_that_was_lost_makes_no_second_job(slurm: FakeSlurm, folder: RunFolder) -> None:
    slurm.answer("sbatch", 1, TIMED_OUT)
    slurm.answer("squeue", 0, squeue_line(folder, "77", "PENDING"))
    assert submit(config(), folder) == "77"
    assert len(slurm.submitted()) == 1


def test_the_job_of_an_earlier_submission_is_not_taken_for_it(slurm: FakeSlurm, folder: RunFolder) -> None:
    submitted(folder, "77")
    slurm.answer("sbatch", 1, TIMED_OUT)
    slurm.answer("squeue", 0, squeue_line(folder, "77", "COMPLETING"))
    with pytest.raises(SiteError, match="3 times"):
        submit(config(), folder)
    assert len(slurm.submitted()) == sbatch.ATTEMPTS


def test_where_it_stays_unknown_nothing_is_submitted_again(slurm: FakeSlurm, folder: RunFolder) -> None:
    slurm.answer("sbatch", 1, TIMED_OUT)
    slurm.answer("squeue", 1, "slurm_load_jobs error: Socket timed out on send/recv operation\n")
    with pytest.raises(SiteError, match="before you submit again"):
        submit(config(), folder)
    assert len(slurm.submitted()) == 1
    assert folder.events() == []


def test_a_refusal_is_final(slurm: FakeSlurm, folder: RunFolder) -> None:
    slurm.answer("sbatch", 1, "sbatch: error: Batch job submission failed: Invalid qos specification\n")
    with pytest.raises(SiteError, match="Invalid qos"):
        submit(config(), folder)
    assert len(slurm.submitted()) == 1


def test_what_a_past_end_left_is_cleared_but_never_a_finished_run(slurm: FakeSlurm, folder: RunFolder) -> None:
    result(folder, "failed")
    folder.stop_file.write_text("{}")
    submit(config(), folder)
    assert not folder.result_file.exists()
    assert not folder.stop_file.exists()
    result(folder, "completed")
    with pytest.raises(InputError, match="is finished"):
        submit(config(), folder)


def test_a_result_is_not_taken_from_agents_that_are_about_to_leave(
    slurm: FakeSlurm, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would say that the workers left without a result, and have Slurm start the old job again."""
    result(started(submitted(folder, "5")), "stopped")
    slurm.answer("squeue", 0, squeue_line(folder, "5", "RUNNING"))
    monkeypatch.setattr(start, "LEAVING", 0.3)
    with pytest.raises(SiteError, match="has its result, but its last attempt has not left in 0 s: type the same"):
        submit(config(), folder)
    assert folder.result_file.exists()
    assert slurm.submitted() == []
    monkeypatch.setattr(start, "LEAVING", 60.0)
    leaving = threading.Timer(0.3, ended, (folder, 1, "completed"))
    leaving.start()
    submit(config(), folder)
    leaving.join()
    assert len(slurm.submitted()) == 1
    assert not folder.result_file.exists()


def test_after_waits_for_the_last_job_of_the_run(slurm: FakeSlurm, tmp_path: Path, folder: RunFolder) -> None:
    other = submitted(submitted(run(tmp_path / "runs", "first"), "5"), "6")
    waiting = config(after="first", run={"root": str(tmp_path / "runs")}, site={"dependency": "singleton"})
    submit(waiting, folder)
    assert "--dependency=afterok:6,singleton" in slurm.submitted()[0]
    assert "#SBATCH --dependency" not in folder.script.read_text()
    result(other, "completed")
    assert dependencies(waiting) == "singleton"
    result(other, "failed")
    with pytest.raises(InputError, match="resume first"):
        dependencies(waiting)


def test_after_an_unknown_or_a_local_run_is_refused(tmp_path: Path) -> None:
    run(tmp_path, "first")
    with pytest.raises(InputError, match="never submitted to Slurm"):
        dependencies(config(after="first", run={"root": str(tmp_path)}))
    with pytest.raises(InputError, match="did you mean first"):
        dependencies(config(after="firts", run={"root": str(tmp_path)}))


def test_a_job_that_one_submits_from_does_not_leak() -> None:
    inside = {
        "SLURM_JOB_ID": "1", "SLURM_NTASKS": "8", "SBATCH_ACCOUNT": "x", "SRUN_CPUS_PER_TASK": "3", "PMI_RANK": "0",
        "MASTER_ADDR": "n1", "MASTER_PORT": "1", "RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0",
        "TORCHELASTIC_RUN_ID": "x", "CUDA_VISIBLE_DEVICES": "0", "SLURMWRIGHT_ATTEMPT": "3",
        "SLURM_CONF": "/etc/slurm.conf", "HOME": "/home/me", "SLURMWRIGHT_STORE": "/store",
    }  # fmt: skip
    kept = {"SLURM_CONF": "/etc/slurm.conf", "HOME": "/home/me", "SLURMWRIGHT_STORE": "/store"}
    assert for_submission(["time"], inside) == kept


def test_a_persons_defaults_stay_but_do_not_override_the_run() -> None:
    outside = {
        "SBATCH_ACCOUNT": "physics", "SBATCH_TIMELIMIT": "1", "SBATCH_PARTITION": "x", "SBATCH_MEM_PER_NODE": "1G",
        "SBATCH_ARRAY_INX": "1-9", "SBATCH_WAIT": "1", "CUDA_VISIBLE_DEVICES": "3", "SBATCH_EXPORT": "NONE",
    }  # fmt: skip
    assert for_submission(["time", "partition", "mem"], outside) == {
        "SBATCH_ACCOUNT": "physics", "CUDA_VISIBLE_DEVICES": "3", "SBATCH_EXPORT": "NONE",
    }  # fmt: skip


def test_a_local_agent_sees_no_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "MASTER_PORT", "PYTHONPATH"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    folder = RunFolder(tmp_path)
    env = for_local(folder, 4, {"X": "y", "PYTHONPATH": "z"})
    assert not {"SLURM_JOB_ID", "MASTER_PORT"} & env.keys()
    assert (env["CUDA_VISIBLE_DEVICES"], env["X"]) == ("3", "y")
    assert (env["PYTHONPATH"], env["SLURMWRIGHT_ATTEMPT"]) == (str(folder.code), "4")


def test_a_job_that_prepares_comes_first_and_has_no_devices(
    slurm: FakeSlurm, folder: RunFolder, tmp_path: Path
) -> None:
    asked = config(
        cluster={"nodes": 2, "devices_per_node": 8, "time": "0:30:00"}, gpu={"type": "h100", "device": "cuda"},
        site={"prepare": "job", "partition": "p", "nodelist": "n[1-2]", "dependency": "singleton",
              "sbatch": {"gpu-bind": "none", "comment": "c"}},
    )  # fmt: skip
    assert submit(asked, folder) == "1002"
    first, second = slurm.submitted()
    assert f"--output={folder.attempts}/prepare-%j.log" in first
    assert "--dependency=afterok:1001,singleton" in second
    assert folder.events()[-1]["prepare_job_id"] == "1001"
    text = (folder.path / "prepare.sbatch").read_text()
    flags = sorted(line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH"))
    assert flags == [
        "comment=c", "job-name=mine.prepare", "nodes=1", "ntasks-per-node=1", "open-mode=append", "partition=p",
        "time=0:30:00",
    ]  # fmt: skip
    assert '-m trainer prepare "$SLURMWRIGHT_RUN"' in text
    assert "ATTEMPT" not in text
    assets = {name: {"path": str(tmp_path)} for name in ("model", "data")}
    write_json(folder.manifest_file, folder.manifest() | {"assets": assets})
    submit(asked, folder)
    assert len(slurm.submitted()) == 3
    assert "prepare_job_id" not in folder.events()[-1]
