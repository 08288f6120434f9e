"""`cluster=here`: the main job inside an allocation that a person holds, by salloc or by a batch script."""

import subprocess
import sys
from pathlib import Path

import pytest

from conf.folder import RunFolder
from tests.slurm.cluster import Cluster
from tests.slurm.launching import Login, all_logs
from tests.tiny import tiny_llama, tiny_rows


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("here")
    tiny_llama(folder / "tiny")
    tiny_rows(folder / "rows.jsonl", 40, seed=1)
    return folder


def launch(home: Path, name: str) -> list[str]:
    """The command of a run on 2 nodes x 2 workers of the allocation that it is typed in."""
    return [
        sys.executable, "-m", "launcher", "+model=hf", f"model.id={home / 'tiny'}", "data=file",
        f"data.path={home / 'rows.jsonl'}", "data.max_length=64", "method.max_steps=3", "batch.global=4",
        "+cluster=here", "gpu=pretend", "cluster.nodes=2", "cluster.devices_per_node=2", f"name={name}",
    ]  # fmt: skip


HOLD = ["--partition=low", "--nodes=2", "--gres=gpu:h100:2", "--time=5"]


@pytest.mark.parametrize("way", ["salloc", "sbatch"])
def test_a_run_inside_an_allocation_trains_on_its_nodes(cluster: Cluster, home: Path, way: str) -> None:
    login = Login(cluster, home, home / "store")
    command = launch(home, way)
    if way == "sbatch":
        script = home / "mine.sbatch"
        script.write_text('#!/bin/sh\nexec "$@"\n')
        held = ["sbatch", "--wait", f"--output={home}/mine.log", *HOLD, str(script), *command]
    else:
        held = ["salloc", *HOLD, *command]
    done = subprocess.run(held, cwd=home, env=login.environment, capture_output=True, text=True, timeout=150)
    folder = RunFolder(home / "runs" / way)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{all_logs(folder)}"
    assert folder.result()["status"] == "completed"
    started = next(event for event in folder.events() if event["event"] == "started")
    assert (len(set(started["nodes"])), started["world_size"]) == (2, 4)
    assert (folder.adapter / "adapter_model.safetensors").is_file()
    (row,) = login.launcher("status", way)["runs"]
    assert (row["status"], row["step"]) == ("completed", 3)


def test_an_allocation_of_another_size_is_refused(cluster: Cluster, home: Path) -> None:
    login = Login(cluster, home, home / "store")
    held = ["salloc", "--partition=low", "--nodes=1", *launch(home, "small")]
    done = subprocess.run(held, cwd=home, env=login.environment, capture_output=True, text=True, timeout=180)
    assert done.returncode == 2
    assert "add cluster.nodes=1" in done.stderr
    assert not (home / "runs" / "small").exists()
