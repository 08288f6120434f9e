"""Curves at Weights & Biases and MLflow, by the real packages, offline; what fails there never stops a run."""

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from conf.folder import RunFolder, write_json
from conf.schema.derive import derive
from conf.schema.run import RunConfig
from tests.trainer.runs import make_run, train
from trainer import tracking
from trainer.recording import Recorder

pytestmark = pytest.mark.train

SECRET = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "llama-lora-docs-sft-1234")
    made.path.mkdir()
    return made


def config(**fields: Any) -> RunConfig:
    return derive(RunConfig.model_validate({"model": {"id": "someone/model"}, "tracking": fields}))


def record(folder: RunFolder, made: RunConfig, attempt: int, step: int, losses: list[float]) -> None:
    """Curves of one attempt, through the door that training takes."""
    recorder = Recorder(folder, attempt, rank=0, tracked=made)
    recorder.begin(10, step)
    for number, loss in enumerate(losses, step + 1):
        recorder.step_done(number, tokens=10)
        recorder.metrics(number, loss, learning_rate=0.1, grad_norm=None)
    recorder.evaluated(step + len(losses), 2.5)
    recorder.close()


def files(folder: RunFolder) -> list[Path]:
    return [path for path in folder.path.rglob("*") if path.is_file()]


def test_wandb_writes_a_few_files_and_no_secret(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    made = config(name="wandb", project="docs", entity="team", label="first try")
    record(folder, made, attempt=1, step=0, losses=[3.0, 2.0])
    record(folder, made, attempt=2, step=1, losses=[2.0])
    kept = sorted(folder.tracking.glob(f"wandb/offline-run-*-{folder.id}/run-{folder.id}.wandb"))
    assert len(kept) == 2  # one an attempt, of one run
    for file in kept:
        content = file.read_bytes()
        assert all(word in content for word in (b"train/loss", b"eval/loss", b"docs", b"team", b"first try"))
        assert b"sbatch" not in content  # a site is nobody's business
    assert len(files(folder)) < 16
    assert not [path for path in files(folder) if SECRET.encode() in path.read_bytes()]


def test_mlflow_has_one_run_over_all_attempts(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
    made = config(name="mlflow", project="docs", label="first try")
    record(folder, made, attempt=1, step=0, losses=[3.0, 2.0])
    record(folder, made, attempt=2, step=1, losses=[2.0, 1.5])
    from mlflow import MlflowClient

    client = MlflowClient((folder.tracking / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("docs")
    [run] = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status, run.data.params["optimizer"]) == ("first try", "FINISHED", "adamw")
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert sorted((point.step, point.value) for point in history) == [(1, 3.0), (2, 2.0), (3, 1.5)]
    assert run.data.metrics["eval/loss"] == 2.5
    assert len(files(folder)) < 40
    assert not [path for path in files(folder) if SECRET.encode() in path.read_bytes()]


def test_mlflow_gets_the_step_that_a_kill_kept_from_it(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Step 3 got into metrics.jsonl before the worker was killed, and no further; step 2 got to both."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made = config(name="mlflow")
    record(folder, made, attempt=1, step=0, losses=[3.0, 2.0])
    killed = Recorder(folder, 1, rank=0)
    killed.step_done(3, tokens=10)
    killed.metrics(3, 1.5, learning_rate=0.1, grad_norm=None)
    record(folder, made, attempt=2, step=1, losses=[2.0, 1.5, 1.0])
    from mlflow import MlflowClient

    client = MlflowClient((folder.tracking / "mlruns").as_uri())
    [run] = client.search_runs([client.get_experiment_by_name("slurmwright").experiment_id])
    for name, values in {"train/loss": [3.0, 2.0, 1.5, 1.0], "train/learning_rate": [0.1] * 4}.items():
        history = client.get_metric_history(run.info.run_id, name)
        assert sorted((point.step, point.value) for point in history) == list(enumerate(values, 1))


def test_mlflow_goes_to_the_named_store(folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "environment").as_uri())
    record(folder, config(name="mlflow"), attempt=1, step=0, losses=[3.0])
    assert (tmp_path / "environment").is_dir()
    other = RunFolder(tmp_path / "other")
    other.path.mkdir()
    record(other, config(name="mlflow", url=(tmp_path / "named").as_uri()), attempt=1, step=0, losses=[3.0])
    assert (tmp_path / "named").is_dir() and not (other.tracking / "mlruns").exists()


@pytest.mark.parametrize("name", ["wandb", "mlflow", "tensorboard"])
def test_a_missing_package_is_one_line_in_the_log(
    folder: RunFolder, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with caplog.at_level(logging.WARNING, "trainer"):
        record(folder, config(name=name), attempt=1, step=0, losses=[3.0, 2.0])
    [line] = [entry.getMessage() for entry in caplog.records]
    assert f"tracking={name}" in line and "pip install" in line
    assert len(folder.metrics()) == 3


def test_a_service_that_fails_is_left_after_one_line(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    recorder = Recorder(folder, 1, rank=0, tracked=config(name="mlflow"))
    with caplog.at_level(logging.WARNING, "trainer"):
        recorder.begin(10, 0)
        shutil.rmtree(folder.tracking / "mlruns")
        for step in (1, 2):
            recorder.metrics(step, 1.0, 0.1, None)
        recorder.close()
    [line] = [entry.getMessage() for entry in caplog.records]
    assert line.startswith("tracking=mlflow failed, curves lie in metrics.jsonl alone from here: ")
    assert len(folder.metrics()) == 2
    write_json(folder.tracking / "mlflow.json", {"run_id": "gone"})
    with caplog.at_level(logging.WARNING, "trainer"):
        assert tracking.start(config(name="mlflow"), folder, attempt=2, step=2) is None


def test_offline_runs_send_nothing(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    said: dict[str, Any] = {}

    class Run:
        def define_metric(self, *names: Any, **options: Any) -> None: ...

    monkeypatch.setattr(wandb, "init", lambda **options: said.update(options) or Run())
    made = config(name="wandb", mode="online")
    tracking.start(made, folder, 1, 0)
    assert (said["mode"], said["id"], said["resume"], said["project"]) == ("online", folder.id, "allow", "slurmwright")
    made.offline = True
    tracking.start(made, folder, 1, 0)
    assert said["mode"] == "offline"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    made.tracking.name = "mlflow"
    assert tracking.start(made, folder, 1, 0) is not None
    assert (folder.tracking / "mlruns").is_dir()


def test_none_is_none(folder: RunFolder) -> None:
    assert tracking.start(config(name="none"), folder, 1, 0) is None


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_run_is_tracked(tmp_path: Path, name: str) -> None:
    folder = make_run(tmp_path, name, tracking={"name": name}, method={"max_steps": 2})
    train(folder)
    assert folder.result()["status"] == "completed"
    assert list(folder.tracking.rglob("train/loss" if name == "mlflow" else "*.wandb"))
