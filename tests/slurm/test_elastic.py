"""A run of two nodes that is preempted goes on with one: same rows, same end, and it says what changed."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

from launcher.state import last_job
from tests.slurm.cluster import Cluster
from tests.slurm.launching import Login, completed, wait_for_event
from tests.tiny import tiny_llama, tiny_rows

STEPS = 40


@pytest.fixture(scope="module")
def login(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Login]:
    home = tmp_path_factory.mktemp("elastic")
    tiny_llama(home / "tiny")
    tiny_rows(home / "rows.jsonl", 100, seed=1)
    yield Login(cluster, home, home / "store")


def words(home: Path, name: str, nodes: int) -> list[str]:
    return [
        "+model=hf", f"model.id={home / 'tiny'}", "data=file", f"data.path={home / 'rows.jsonl'}",
        "data.max_length=64", "adapter.r=4", "method.learning_rate=5e-3", f"method.max_steps={STEPS}",
        "parallel=zero2", "batch.global=8", "batch.micro=1", f"cluster.nodes={nodes}", "cluster.devices_per_node=2",
        f"name={name}",
    ]  # fmt: skip


def test_two_nodes_preempted_go_on_as_one(login: Login, cluster: Cluster) -> None:
    calm = login.submit(*words(login.folder, "calm", 1))
    folder = login.submit(*words(login.folder, "elastic", 2))
    # DeepSpeed compiles its extension where no other test has.
    wait_for_event(folder, "step", 300)
    command = ["scancel", "--signal=USR2", "--batch", str(last_job(folder))]
    subprocess.run(command, env=cluster.env, check=True, timeout=180, capture_output=True)
    wait_for_event(folder, "requeued")
    login.launcher("cancel", folder.id)

    # 8 sequences cannot be shared by 6 workers; nothing is started.
    refused = login.launcher("resume", folder.id, "cluster.nodes=3", expect=2)
    assert any("keeps its global batch" in problem["message"] for problem in refused["problems"])
    login.launcher("resume", folder.id, "cluster.nodes=1")
    result, reference = completed(folder), completed(calm)

    [preempted] = [event for event in folder.events() if event["event"] == "preempted"]
    resumed = [event for event in folder.events() if event["event"] == "resumed"][-1]
    assert resumed["step"] == preempted["step"]
    assert resumed["changed"] == {"nodes": [2, 1], "workers": [4, 2], "batch.accumulation": [2, 4]}
    lines = [line for line in folder.metrics() if "loss" in line]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    expected = [line for line in calm.metrics() if "loss" in line]
    assert [line["tokens"] for line in lines] == [line["tokens"] for line in expected]
    assert result["eval_loss"] == pytest.approx(reference["eval_loss"], rel=1e-4)
    mine, theirs = (load_file(run.adapter / "adapter_model.safetensors") for run in (folder, calm))
    for name, tensor in theirs.items():
        assert_close(mine[name], tensor, atol=2e-3, rtol=0)
    [row] = login.launcher("status", folder.id)["runs"]
    assert "workers 4 -> 2" in row["changed"]
