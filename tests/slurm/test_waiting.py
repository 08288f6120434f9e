"""Jobs that wait for others: `after=RUN`, and a run whose weights and data another job prepares."""

from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster
from tests.slurm.cluster.commands import wait_until
from tests.slurm.launching import Login, completed
from tests.tiny import tiny_llama, tiny_rows


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("waiting")
    tiny_llama(folder / "tiny")
    tiny_rows(folder / "rows.jsonl", 40, seed=1)
    return folder


@pytest.fixture(scope="module")
def words(home: Path) -> list[str]:
    return [
        "+model=hf", f"model.id={home / 'tiny'}", "data=file", f"data.path={home / 'rows.jsonl'}",
        "data.max_length=64", "method.max_steps=2", "cluster.devices_per_node=1",
    ]  # fmt: skip


def test_a_run_after_another_starts_when_that_has_completed(cluster: Cluster, home: Path, words: list[str]) -> None:
    login = Login(cluster, home, home / "store")
    first = login.submit(*words, "name=first", "site.begin=now+1hour")
    second = login.submit(*words, "name=second", "seed=2", "after=first")
    rows = {row["run_id"]: row for row in login.launcher("status")["runs"]}
    assert (rows["first"]["status"], rows["first"]["reason"]) == ("queued", "BeginTime")
    assert rows["first"]["expected_start"] is not None
    assert (rows["second"]["status"], rows["second"]["reason"]) == ("queued", "Dependency")
    cluster.run(["scontrol", "update", f"jobid={rows['first']['job_id']}", "starttime=now"])
    completed(first), completed(second)
    ended = next(event["t"] for event in first.events() if event["event"] == "finished")
    assert next(event["t"] for event in second.events() if event["event"] == "started") >= ended


def test_a_job_without_devices_prepares_the_run(cluster: Cluster, home: Path, words: list[str]) -> None:
    login = Login(cluster, home, home / "empty store")
    folder = login.submit(*words, "name=prepared", "site.prepare=job")
    event = folder.events()[-1]
    shown = cluster.run(["scontrol", "show", "job", event["prepare_job_id"]]).stdout
    assert "JobName=prepared.prepare" in shown and "gpu" not in shown
    completed(folder)
    log = folder.attempts / f"prepare-{event['prepare_job_id']}.log"
    assert "tokenising" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0
    assert "tokenising" not in (folder.attempt_folder(1) / "n1.log").read_text()


def test_data_that_cannot_be_prepared_holds_no_devices(cluster: Cluster, home: Path, words: list[str]) -> None:
    (home / "bad.jsonl").write_text('{"a": 1}\n')
    login = Login(cluster, home, home / "store")
    folder = login.submit(*words, "name=bad", f"data.path={home / 'bad.jsonl'}", "site.prepare=job")
    prepare = folder.events()[-1]["prepare_job_id"]

    def given_up() -> bool:
        (row,) = login.launcher("status", "bad")["runs"]
        return bool(row["reason"] == "DependencyNeverSatisfied")

    wait_until(given_up, timeout=180, what="the run's job waits for one that failed")
    assert "has neither" in (folder.attempts / f"prepare-{prepare}.log").read_text()
    assert folder.attempt_numbers() == []
    login.launcher("cancel", "bad")
    assert folder.result()["status"] == "cancelled"
