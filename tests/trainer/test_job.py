"""An agent knows its job from Slurm's own variables, and refuses to guess."""

import pytest

from conf.schema.cluster import ClusterConfig
from trainer.ends import Ended
from trainer.job import job_of, seconds, usable_cpus

STEP = {
    "SLURM_JOB_ID": "12",
    "SLURM_STEP_NODELIST": "gpu[01-02],x7",
    "SLURM_STEP_NUM_NODES": "3",
    "SLURM_JOB_NODELIST": "gpu[01-09],x7",
    "SLURM_NNODES": "10",
    "SLURM_NODEID": "1",
}


def cluster(nodes: int, kind: str = "slurm") -> ClusterConfig:
    return ClusterConfig.model_validate({"kind": kind, "nodes": nodes})


def test_the_step_says_which_nodes_there_are() -> None:
    job = job_of(cluster(3), STEP)
    assert job.nodes == ("gpu01", "gpu02", "x7")
    assert (job.rank, job.node, job.head, job.is_head) == (1, "gpu02", "gpu01", False)
    assert (job.job_id, job.restart_count) == ("12", 0)


def test_a_task_of_an_array_and_a_restart() -> None:
    more = {"SLURM_ARRAY_JOB_ID": "10", "SLURM_ARRAY_TASK_ID": "4", "SLURM_RESTART_COUNT": "2"}
    job = job_of(cluster(3), STEP | more)
    assert (job.job_id, job.restart_count) == ("10_4", 2)


def test_without_a_step_the_job_says_it() -> None:
    batch = {"SLURM_JOB_ID": "5", "SLURM_JOB_NODELIST": "a", "SLURM_NNODES": "1", "SLURM_NODEID": "0"}
    assert job_of(cluster(1), batch).nodes == ("a",)


def test_a_local_run_ignores_the_allocation_that_it_was_started_in() -> None:
    job = job_of(cluster(1, "local"), STEP)
    assert len(job.nodes) == 1 and job.nodes[0] not in ("gpu01", "gpu02") and job.job_id is None and job.is_head


@pytest.mark.parametrize(
    ("nodes", "change", "words"),
    [
        (2, {}, ["cluster.nodes=2", "the job has 3", "gpu01,gpu02,x7"]),
        (3, {"SLURM_STEP_NUM_NODES": "4"}, ["there are 4 nodes", "gpu01,gpu02,x7"]),
        (3, {"SLURM_STEP_NODELIST": "gpu[01"}, ["SLURM_STEP_NODELIST", "'gpu[01'"]),
        (3, {"SLURM_NODEID": "3"}, ["SLURM_NODEID=3"]),
        (3, {"SLURM_NODEID": "one"}, ["SLURM_NODEID=one"]),
        (3, {"SLURMD_NODENAME": "gpu09"}, ["gpu09", "gpu02"]),
        (3, {"SLURM_LOCALID": "1"}, ["one task a node"]),
    ],
)
def test_facts_that_do_not_fit_are_named(nodes: int, change: dict[str, str], words: list[str]) -> None:
    with pytest.raises(Ended) as caught:
        job_of(cluster(nodes), STEP | change)
    assert caught.value.cause == "launch_failed"
    assert all(word in caught.value.message for word in words)


def test_no_slurm_is_never_taken_for_one_node() -> None:
    with pytest.raises(Ended, match="this is no Slurm job"):
        job_of(cluster(1), {})


def test_several_nodes_cannot_be_local() -> None:
    with pytest.raises(Ended, match=r"cluster.nodes=2, but this machine is one node"):
        job_of(cluster(2, "local"), {})


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("5", 300), ("5:30", 330), ("2:00:05", 7205), ("1-00:00:00", 86400), ("1-2", 93600), ("1-2:30", 95400)],
)
def test_time_limits_as_slurm_reads_them(limit: str, expected: int) -> None:
    assert seconds(limit) == expected


def test_the_deadline_is_slurms_where_it_tells() -> None:
    assert job_of(cluster(3), STEP | {"SLURM_JOB_END_TIME": "1000"}).deadline == 1000.0


def test_slurms_allotment_bounds_the_cpus() -> None:
    assert usable_cpus(cluster(1), {"SLURM_CPUS_PER_TASK": "1", "SLURM_CPUS_ON_NODE": "64"}) == 1
    assert usable_cpus(cluster(1, "local"), {"SLURM_CPUS_PER_TASK": "0"}) >= 1
