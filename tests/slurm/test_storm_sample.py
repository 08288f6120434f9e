"""A short storm, anew with every change: `make storm` is the long one."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster
from tests.slurm.conftest import suffix
from tests.storm.disk import Disk
from tests.storm.judge import broken
from tests.storm.schedule import Fault
from tests.storm.storm import Storm

FAULTS = [
    Fault("preemption", "save", 12, 1),
    Fault("bit_flip", "step", 34, 2),
    Fault("full_disk", "step", 46, 3),
    Fault("node", "step", 58, 4),
]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    small = Disk(tmp_path / "disk")
    small.mount()
    yield small
    small.unmount()


def test_a_short_storm_changes_nothing(disk: Disk, tmp_path: Path) -> None:
    """On a cluster of its own, booted after its disk, which all nodes must see."""
    cluster = Cluster.boot(f"s{suffix(os.getpid())[1:]}", owner=os.getpid())
    try:
        storm = Storm(cluster, tmp_path, disk, FAULTS)
        storm.run()
        assert broken(storm) == []
    finally:
        cluster.down()
