"""The main job on a real Slurm: compose, freeze, submit, rendezvous over a network, train, adapter, result."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors import safe_open

from conf.folder import RunFolder
from tests.slurm.cluster import Cluster
from tests.slurm.launching import Login, completed, wait_for_end, wait_for_event
from tests.tiny import tiny_llama, tiny_rows

STRATEGIES = ("ddp", "zero2", "zero3", "fsdp2")
STEPS = 4


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder on the cluster's shared file system, with a tiny model and rows."""
    folder = tmp_path_factory.mktemp("home")
    tiny_llama(folder / "tiny")
    tiny_rows(folder / "rows.jsonl", 160, seed=1)
    return folder


@pytest.fixture(scope="module")
def login(cluster: Cluster, home: Path) -> Iterator[Login]:
    """A person at the login node."""
    yield Login(cluster, home, home / "store")


def tiny(home: Path) -> list[str]:
    """The words that choose the tiny model and its rows."""
    return [
        "+model=hf", f"model.id={home / 'tiny'}", "data=file", f"data.path={home / 'rows.jsonl'}",
        "data.max_length=64", "adapter.r=4", "method.learning_rate=1e-2",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def curves(login: Login, home: Path) -> dict[str, RunFolder]:
    """One run of one worker, and one of two nodes x two workers for each strategy, submitted all at once.

    All have the same head node, so they also show that two jobs on one head do not collide.
    """
    words = [*tiny(home), f"method.max_steps={STEPS}", "batch.global=8", "site.nodelist=n1"]
    runs = {
        "alone": login.submit(*words, "name=alone", "cluster.devices_per_node=1", "batch.micro=2"),
    }
    for strategy in STRATEGIES:
        runs[strategy] = login.submit(
            *words,
            f"name={strategy}",
            "cluster.nodes=2",
            "batch.micro=2",
            f"parallel={strategy}",
            "site.nodelist='n[1-2]'",
        )
    return runs


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_nodes_by_two_workers_train_as_one_worker_does(curves: dict[str, RunFolder], strategy: str) -> None:
    """4 workers x 1 accumulation and 1 worker x 4 accumulation: the same losses, whatever is sharded."""
    alone, together = curves["alone"], curves[strategy]
    completed(alone), completed(together)
    assert alone.config().batch.accumulation == 4
    assert together.config().batch.accumulation == 1
    assert together.config().parallel.strategy == strategy
    expected = [line["loss"] for line in alone.metrics() if "loss" in line]
    found = [line["loss"] for line in together.metrics() if "loss" in line]
    assert len(expected) == STEPS
    assert expected[-1] < expected[0]
    assert found == pytest.approx(expected, rel=2e-4)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_adapter_is_saved_and_every_node_has_a_log(
    curves: dict[str, RunFolder], login: Login, strategy: str
) -> None:
    folder = curves[strategy]
    result = completed(folder)
    assert result["step"] == STEPS
    with safe_open(folder.adapter / "adapter_model.safetensors", "pt") as weights:
        assert any("lora_B" in name for name in weights.keys())  # noqa: SIM118  (safe_open has no iterator)
        assert any(weights.get_tensor(name).abs().sum() > 0 for name in weights.keys() if "lora_B" in name)  # noqa: SIM118
    logs = {path.stem for path in folder.attempt_folder(1).glob("*.log")}
    assert logs == {"n1", "n2"}


def test_jobs_with_the_same_head_ran_at_the_same_time(curves: dict[str, RunFolder]) -> None:
    spans = []
    for folder in curves.values():
        completed(folder)
        events = folder.events()
        head = next(line for line in events if line["event"] == "started")
        assert head["nodes"][0] == "n1"
        spans.append((head["t"], next(line["t"] for line in events if line["event"] == "finished")))
    assert any(a[0] < b[1] and b[0] < a[1] for a in spans for b in spans if a is not b)


def test_status_agrees_with_squeue_and_sacct_and_lives_without_slurmdbd(
    curves: dict[str, RunFolder], login: Login, cluster: Cluster
) -> None:
    for folder in curves.values():
        completed(folder)
    rows = {row["run_id"]: row for row in login.launcher("status")["runs"]}
    for name in curves:
        assert rows[name]["status"] == "completed"
        state = cluster.run(["sacct", "-XnP", "-j", str(rows[name]["job_id"]), "-o", "State"]).stdout.strip()
        assert state.startswith(("COMPLETED", "COMPLETING", "RUNNING")), state
    cluster.stop_slurmdbd()
    try:
        again = {row["run_id"]: row for row in login.launcher("status")["runs"]}
    finally:
        cluster.start_slurmdbd()
    assert {name: again[name]["status"] for name in curves} == dict.fromkeys(curves, "completed")


def test_a_waiting_job_shows_why_and_a_cancelled_one_leaves_no_process(
    login: Login, home: Path, cluster: Cluster
) -> None:
    running = login.submit(*tiny(home), "method.max_steps=100000", "name=endless", "cluster.nodes=2", "batch.global=4")
    held = login.submit(*tiny(home), "method.max_steps=5", "name=held", "site.sbatch.hold=true")
    wait_for_event(running, "data_ready")
    rows = {row["run_id"]: row for row in login.launcher("status")["runs"]}
    assert rows["endless"]["status"] == "running"
    assert rows["held"]["status"] == "queued"
    assert "Held" in rows["held"]["reason"]
    queue = dict(line.split() for line in cluster.run(["squeue", "-h", "-o", "%j %T"]).stdout.splitlines())
    assert queue["endless"] == "RUNNING" and queue["held"] == "PENDING"
    login.launcher("cancel", "endless")
    login.launcher("cancel", "held")
    assert wait_for_end(running)["status"] == "cancelled"
    assert wait_for_end(held)["status"] == "cancelled"
    assert processes_of(running) == []
    assert "endless" not in cluster.run(["squeue", "-h", "-o", "%j"]).stdout
    assert any(line["event"] == "cancelled" for line in running.events())


def test_a_finished_run_is_said_to_be_finished(curves: dict[str, RunFolder], login: Login, home: Path) -> None:
    completed(curves["ddp"])
    before = curves["ddp"].result()
    answer = login.launcher("resume", "ddp")
    assert answer["status"] == "completed"
    assert curves["ddp"].result() == before


def test_logs_of_all_nodes_are_printed(curves: dict[str, RunFolder], login: Login) -> None:
    completed(curves["ddp"])
    done = subprocess.run(
        [sys.executable, "-m", "launcher", "logs", "ddp"], cwd=login.folder, env=login.environment,
        capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "n1" in done.stdout and "n2" in done.stdout


def test_editing_the_checkout_after_submission_changes_nothing(login: Login, home: Path, tmp_path: Path) -> None:
    """The job imports RUN/code, even from a folder with a conf/ and a trainer.py of its own."""
    place = tmp_path / "mine"
    (place / "conf").mkdir(parents=True)
    (place / "conf" / "__init__.py").write_text("raise SystemExit('the wrong conf')\n")
    (place / "trainer.py").write_text("raise SystemExit('the wrong trainer')\n")
    person = Login(login.cluster, place, home / "store")
    folder = person.submit(
        *tiny(home), "method.max_steps=2", "name=shadowed", "batch.global=4", "cluster.devices_per_node=1"
    )
    assert completed(folder)["step"] == 2


def test_smollm2_on_two_nodes(login: Login, smollm2_store: Path, home: Path) -> None:
    """The demo's model, for a few steps, on 2 nodes x 2 workers."""
    person = Login(login.cluster, home, smollm2_store)
    folder = person.submit(
        "+model=smollm2_135m", "name=smollm2", "cluster.nodes=2", "batch.global=4", "method.max_steps=3",
        "data.max_length=128", "evaluation.max_rows=4", "adapter.r=8",
    )  # fmt: skip
    result = completed(folder, timeout=500)
    assert result["eval_loss"] < result["eval_loss_before"]
    assert (folder.adapter / "adapter_config.json").is_file()


def processes_of(folder: RunFolder) -> list[str]:
    """Command lines of this machine's processes that name a run's folder, a few seconds after its end."""
    found: list[str] = []
    for _ in range(40):
        found = []
        for entry in Path("/proc").iterdir():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(folder.path) in line and "trainer" in line:
                found.append(line)
        if not found:
            return []
        time.sleep(0.25)
    return found
