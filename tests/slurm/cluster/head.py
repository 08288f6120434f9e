"""The head machine: where slurmctld, slurmdbd and the database run, and in which the nodes live."""

import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from . import config, daemons, network
from .commands import PLAIN_ENVIRONMENT, ClusterError
from .layout import GPUS_PER_NODE, NODES, Layout
from .machine import Machine, marks

REPOSITORY = Path(__file__).resolve().parents[3]
SUPERVISOR = "tests.slurm.cluster.supervisor"


def make_folder(layout: Layout) -> None:
    """Create the data folder with all that is in it before the cluster has addresses."""
    layout.folder.mkdir(parents=True, exist_ok=True)
    layout.save()
    for name in ("log", "run", "state", "munge", "gpu", "mysql", "spool", *(f"spool/{node}" for node in NODES)):
        (layout.folder / name).mkdir()
    for number in range(GPUS_PER_NODE):
        # slurmd gives CUDA_VISIBLE_DEVICES only for character devices; these have the number of /dev/null.
        os.mknod(layout.folder / "gpu" / f"h100-{number}", stat.S_IFCHR | 0o666, os.makedev(1, 3))


def start_supervisor(layout: Layout, owner: int | None) -> "subprocess.Popen[bytes]":
    """Start the process that the cluster hangs on; it starts the head. Without an owner nobody but `down` ends it."""
    command = [sys.executable, "-m", SUPERVISOR]
    handles: list[int] = []
    if owner is not None:
        try:
            # A handle, not a number: the number may belong to another process by the time the supervisor runs.
            handles.append(os.pidfd_open(owner))
        except ProcessLookupError:
            raise ClusterError(f"the owner, process {owner}, does not exist") from None
        command.append(f"--owner={handles[0]}")
    try:
        with layout.log("supervisor").open("a") as log:
            return subprocess.Popen(
                [*command, *marks(layout, "supervisor")],
                cwd=REPOSITORY,
                env=PLAIN_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=handles,
            )
    finally:
        for handle in handles:
            os.close(handle)


def configure(layout: Layout) -> Layout:
    """Wait for the head, give it its network and files; returns the layout with the subnet that was found."""
    head = Machine(layout, "head")
    head.wait_on(layout.log("supervisor"))
    layout = replace(layout, subnet=network.claim(layout, head))
    layout.save()
    for name, text in config.files(layout, daemons.slurm_version()).items():
        (layout.folder / name).write_text(text)
    (layout.folder / "slurmdbd.conf").chmod(0o600)
    network.build_bridge(layout, head)
    head.enter(["mount", "--bind", str(layout.folder / "hosts"), "/etc/hosts"])
    return layout
