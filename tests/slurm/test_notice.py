"""What the proof does not cover: a notice to the batch shell alone, and the loss of an agent. Same weights, on a real
Slurm."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from conf.folder import RunFolder
from launcher.state import last_job
from tests.slurm.cluster import Cluster
from tests.slurm.launching import Login, completed, wait_for_event
from tests.tiny import tiny_llama, tiny_rows

STEPS = 60


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("notice")
    tiny_llama(folder / "tiny")
    tiny_rows(folder / "rows.jsonl", 200, seed=1)
    return folder


@pytest.fixture(scope="module")
def login(cluster: Cluster, home: Path) -> Iterator[Login]:
    yield Login(cluster, home, home / "store")


def words(home: Path, name: str) -> list[str]:
    return [
        "+model=hf", f"model.id={home / 'tiny'}", "data=file", f"data.path={home / 'rows.jsonl'}",
        "data.max_length=64", "adapter.r=4", "adapter.dropout=0.1", "method.learning_rate=1e-2",
        f"method.max_steps={STEPS}", "batch.global=8", "batch.micro=1", "cluster.nodes=2", "checkpoint.interval=1000",
        "cluster.devices_per_node=1", f"name={name}",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def calm(login: Login, home: Path) -> RunFolder:
    """The run that nothing disturbs."""
    folder = login.submit(*words(home, "calm"))
    completed(folder)
    return folder


def steps(folder: RunFolder, attempt: int) -> list[int]:
    """Steps of one attempt, as its metrics tell them."""
    marks = [event for event in folder.events() if event["event"] == "started"]
    begin = next(event["t"] for event in marks if event["attempt"] == attempt)
    ends = [event["t"] for event in marks if event["attempt"] == attempt + 1]
    lines = [line for line in folder.metrics() if "loss" in line and line["t"] >= begin]
    return [line["step"] for line in lines if not ends or line["t"] < ends[0]]


def same_weights(mine: RunFolder, theirs: RunFolder) -> None:
    found = load_file(mine.adapter / "adapter_model.safetensors")
    expected = load_file(theirs.adapter / "adapter_model.safetensors")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def nothing_lost(folder: RunFolder, calm: RunFolder, cause: str) -> dict[str, Any]:
    result = completed(folder)
    causes = [event.get("cause") for event in folder.events() if event["event"] == "requeued"]
    assert causes == [cause]
    first, second = steps(folder, 1), steps(folder, 2)
    assert first == list(range(1, first[-1] + 1)) and 0 < len(first) < STEPS
    assert second == list(range(first[-1] + 1, STEPS + 1))
    same_weights(folder, calm)
    return result


def slurm(cluster: Cluster, *command: str) -> None:
    subprocess.run(command, env=cluster.env, check=True, timeout=180, capture_output=True)


def trains(folder: RunFolder) -> None:
    wait_for_event(folder, "step")


def test_a_signal_to_the_batch_shell_alone_loses_no_step(
    login: Login, cluster: Cluster, home: Path, calm: RunFolder
) -> None:
    folder = login.submit(*words(home, "signal"))
    trains(folder)
    slurm(cluster, "scancel", "--signal=USR2", "--batch", str(last_job(folder)))
    nothing_lost(folder, calm, "preempted")


def test_a_killed_agent_costs_no_more_than_the_interval(
    login: Login, cluster: Cluster, home: Path, calm: RunFolder
) -> None:
    folder = login.submit(*words(home, "killed"), "checkpoint.interval=5")
    wait_for_event(folder, "checkpoint_committed")
    slurm(cluster, "scancel", "--signal=KILL", f"{last_job(folder)}.0")
    completed(folder)
    first, second = steps(folder, 1), steps(folder, 2)
    assert second[0] > 1 and first[-1] - second[0] < 5 + 1
    same_weights(folder, calm)
