"""`doctor` against a real Slurm, its database, a node and a plugin; `checkpoint` and `stop` on a run that trains."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from conf.folder import RunFolder
from tests.slurm.cluster import Cluster
from tests.slurm.launching import Login, wait_for_end, wait_for_event
from tests.tiny import tiny_llama, tiny_rows

FORBIDS = """\
function slurm_job_submit(job, partitions, user)
  job.requeue = 0
  return slurm.SUCCESS
end
function slurm_job_modify(job, record, partitions, user)
  return slurm.SUCCESS
end
"""


@pytest.fixture
def login(cluster: Cluster, tmp_path: Path) -> Login:
    person = Login(cluster, tmp_path, tmp_path / "store")
    person.environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    return person


@contextmanager
def changed(cluster: Cluster, old: str, new: str) -> Iterator[None]:
    """slurm.conf with something else in it for a while."""
    conf = cluster.layout.slurm_conf
    before = conf.read_text()
    assert old in before
    try:
        conf.write_text(before.replace(old, new))
        cluster.run(["scontrol", "reconfigure"])
        yield
    finally:
        conf.write_text(before)
        cluster.run(["scontrol", "reconfigure"])


def message(document: dict[str, Any], about: str) -> str:
    return "\n".join(each["message"] for each in document["means"] if each["about"] == about)


def queued(cluster: Cluster) -> list[str]:
    """Jobs of the doctor that are still there."""
    names = cluster.run(["squeue", "--noheader", "--format=%j"]).stdout.splitlines()
    return [name for name in names if "doctor" in name]


def test_the_site_is_what_its_config_says(cluster: Cluster, login: Login) -> None:
    document = login.launcher("doctor")
    site = document["site"]
    assert site["version"] == cluster.run(["sinfo", "--version"]).stdout.split()[-1]
    assert (site["cluster"], site["controllers"]) == (cluster.layout.suffix, ["head"])
    assert (site["preempt_type"], site["preempt_mode"]) == ("preempt/partition_prio", "REQUEUE")
    assert (site["kill_wait_seconds"], site["max_array_size"], site["credential_seconds"]) == (5, 1001, 5)
    assert (site["job_requeue"], document["requeue"], site["proctrack"]) == (True, True, cluster.layout.proctrack)
    assert (site["accounting"], site["accounting_answers"], site["complete"]) == (True, True, True)
    assert {each["account"] for each in site["associations"]} >= {"research"}
    assert "normal" in {each["name"] for each in site["qos"]}
    low, high = site["partitions"]
    assert (low["name"], low["default"], low["grace_seconds"], low["gres"]) == ("low", True, 20, ["gpu:h100:8"])
    assert (high["name"], sum(high["states"].values()), high["max_seconds"]) == ("high", 4, 7 * 86400)
    assert "gets 20 s (GraceTime) from SIGTERM" in message(document, "preemption")
    assert site["unknown"] == {}


def test_limits_and_another_preemption_are_seen(cluster: Cluster, login: Login) -> None:
    limit = ["sacctmgr", "--immediate", "modify", "user", "root", "set", "maxsubmitjobs={}"]
    cluster.run([word.format(77) for word in limit])
    try:
        with changed(cluster, "PreemptMode=REQUEUE\nJobRequeue=1", "PreemptMode=CANCEL\nJobRequeue=0"):
            document = login.launcher("doctor")
    finally:
        cluster.run([word.format(-1) for word in limit])
    assert "you may have 77 jobs queued and running at once" in message(document, "limits")
    assert "only where they ask for it (JobRequeue=0)" in message(document, "requeue")
    assert document["site"]["preempt_mode"] == "CANCEL"


def test_without_its_database_and_without_scontrol(cluster: Cluster, login: Login) -> None:
    cluster.stop_slurmdbd()
    try:
        document = login.launcher("doctor")
    finally:
        cluster.start_slurmdbd()
    assert (document["site"]["accounting"], document["site"]["accounting_answers"]) == (True, False)
    assert "until it does the run folder is the only record after 0:05:00" in message(document, "accounting")
    programs = login.folder / "bin"
    programs.mkdir()
    for name in ("sbatch", "sinfo", "sacctmgr", "squeue"):
        (programs / name).symlink_to(str(shutil.which(name)))
    login.environment["PATH"] = str(programs)
    document = login.launcher("doctor")
    assert document["site"]["accounting_answers"] is True
    assert document["site"]["unknown"]["job_requeue"] == "there is no scontrol on the PATH"
    low = document["site"]["partitions"][0]
    assert (low["name"], low["default"], low["max_seconds"], low["preempt_mode"]) == ("low", True, 604800, "REQUEUE")


def test_a_node_tells_what_differs_there(cluster: Cluster, login: Login) -> None:
    document = login.launcher("doctor", "--from-node", "site.partition=low")
    node = document["node"]
    assert node["host"] in cluster.states()
    assert node["python_version"] == ".".join(map(str, sys.version_info[:3]))
    assert (node["run_root"]["shared"], node["run_root"]["writable"]) == (True, True)
    assert node["routes"] == []  # the private cluster has no way out
    assert (node["clock_ahead_seconds"], node["scontrol"]) == (0, shutil.which("scontrol"))
    assert (document["requeue"], document["site"]["requeue_tried"]) == (True, True)
    assert queued(cluster) == []
    # A folder that is each node's own.
    document = login.launcher("doctor", "--from-node", "--store=/dev/shm", "--python=/no/python", "--partition=high")
    assert (document["node"]["store"]["shared"], document["node"]["store"]["writable"]) == (False, True)
    assert document["node"]["python_version"] is None


def test_a_queue_that_is_full_is_left_as_it_was(cluster: Cluster, login: Login) -> None:
    job = cluster.sbatch("sleep 60", "--nodes=4", "--exclusive", "--partition=high", cwd=login.folder)
    try:
        document = login.launcher("doctor", "--from-node", "--timeout=3", "--partition=high", expect=3)
        assert "no compute node answered within 3 s" in document["error"]
        assert "The request is cancelled" in document["error"]
        assert cluster.run(["squeue", "--noheader", "--format=%A"]).stdout.split() == [job]
    finally:
        cluster.run(["scancel", job])
    assert list(login.folder.glob(".slurmwright-*")) == []


def test_a_plugin_that_forbids_requeues_is_found_out(cluster: Cluster, login: Login) -> None:
    script = cluster.layout.slurm_conf.with_name("job_submit.lua")
    script.write_text(FORBIDS)
    try:
        with changed(cluster, "JobRequeue=1", "JobRequeue=1\nJobSubmitPlugins=lua"):
            before = login.launcher("doctor")
            after = login.launcher("doctor", "--from-node")
            kept = login.launcher("doctor")
    finally:
        script.unlink()
    assert before["requeue"] is None
    assert "a submit plugin (lua) may change" in message(before, "requeue")
    assert (after["requeue"], kept["requeue"]) == (False, False)
    assert message(kept, "requeue") == "requeue is forbidden here: runs go on by a singleton chain of jobs"
    assert queued(cluster) == []


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asking")
    tiny_llama(folder / "tiny")
    tiny_rows(folder / "rows.jsonl", 40, seed=1)
    return folder


def test_a_run_saves_when_asked_and_stops_when_asked(cluster: Cluster, home: Path) -> None:
    login = Login(cluster, home, home / "store")
    folder: RunFolder = login.submit(
        "+model=hf", f"model.id={home / 'tiny'}", "data=file", f"data.path={home / 'rows.jsonl'}",
        "data.max_length=64", "method.max_steps=100000", "cluster.devices_per_node=2", "batch.global=2",
        "checkpoint.interval=null", "evaluation.max_rows=0", "name=asked",
    )  # fmt: skip
    wait_for_event(folder, "data_ready")
    saved = login.launcher("checkpoint", "asked", "--wait", "--timeout=120")
    step = saved["checkpoint"]["step"]
    assert (saved["status"], folder.save_file.exists()) == ("running", False)
    assert (folder.checkpoints / f"step-{step:08d}").is_dir()
    assert not folder.result()
    stopped = login.launcher("stop", "asked", "--wait", "--timeout=120")
    assert stopped["status"] == wait_for_end(folder)["status"] == "stopped"
    assert stopped["checkpoint"]["step"] > step
    login.launcher("stop", "asked", expect=2)
