"""Starting and stopping the programs of a cluster, each on its machine."""

import os
import re
import shutil
import signal
import time
from pathlib import Path

from . import procfs
from .commands import ClusterError, run, tail, wait_until
from .config import sacctmgr_commands
from .layout import Layout
from .machine import Machine

# Speed before safety: the database is thrown away with the cluster.
MARIADB_OPTIONS = (
    "--no-defaults",
    "--user=root",
    "--innodb-buffer-pool-size=32M",
    "--innodb-log-file-size=16M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=0",
    "--performance-schema=off",
    "--skip-log-bin",
)


def slurm_version() -> tuple[int, int]:
    """Version of the installed Slurm, such as (22, 5)."""
    shown = run(["slurmctld", "-V"], timeout=10).stdout
    found = re.search(r"(\d+)\.(\d+)", shown)
    if found is None:
        raise ClusterError(f"slurmctld -V says {shown!r}, no version")
    return int(found[1]), int(found[2])


def start_munged(layout: Layout, head: Machine) -> None:
    """Start the cluster's own munged; machines reach it by its socket on the shared file system."""
    folder = layout.munge_socket.parent
    key = folder / "key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(1024))
    for path in (folder, key):
        shutil.chown(path, "munge", "munge")
    files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "seed-file": "seed", "log-file": "munged.log"}
    options = [f"--{option}={folder / file}" for option, file in files.items()]
    as_munge = ["setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "--"]
    head.enter([*as_munge, "munged", *options], log=layout.log("munged"))


def start_database(layout: Layout, head: Machine) -> None:
    """Create an empty MariaDB and start it on the head's loopback address."""
    data, log = layout.folder / "mysql", layout.log("mariadb")
    command = [
        "mariadb-install-db",
        *MARIADB_OPTIONS,
        f"--datadir={data}",
        "--skip-test-db",
        "--rpm",  # otherwise it hands a folder of the system's MariaDB to --user
        "--auth-root-authentication-method=normal",
    ]
    # Seen once, with two clusters booting at a time: it gave up, and twelve further boots found no fault.
    if head.enter(command, timeout=60, log=log, check=False).returncode != 0:
        shutil.rmtree(data, ignore_errors=True)
        head.enter(command, timeout=60, log=log)
    place = [f"--datadir={data}", f"--socket={data}/socket", f"--pid-file={data}/pid"]
    net = ["--bind-address=127.0.0.1", "--port=3306", "--skip-name-resolve"]
    head.enter(["setsid", "--fork", "mariadbd", *MARIADB_OPTIONS, *place, *net], log=log)
    wait_until((data / "socket").exists, timeout=60, what="MariaDB does not answer", log=log)


def start_slurmdbd(layout: Layout, head: Machine) -> None:
    """Start slurmdbd and return when it answers."""
    _start(head, "slurmdbd", layout.log("slurmdbd"), ["sacctmgr", "--noheader", "show", "cluster"])


def add_account(layout: Layout, head: Machine) -> None:
    """Make the cluster, an account and root's membership known to slurmdbd."""
    for command in sacctmgr_commands(layout):
        head.enter(["sacctmgr", "--immediate", *command])


def start_slurmctld(layout: Layout, head: Machine) -> None:
    """Start slurmctld and return when it answers."""
    _start(head, "slurmctld", layout.log("slurmctld"), ["scontrol", "ping"])


def start_slurmd(layout: Layout, node: Machine) -> None:
    """Start a node's slurmd. -b: each start counts as a boot, so jobs from before a power cut are not believed in."""
    node.enter(["slurmd", "-b", "-N", node.name], log=layout.log(f"slurmd.{node.name}"))


def running(daemon: str, machine: Machine) -> list[int]:
    """Processes of a daemon on a machine, as the real machine numbers them."""
    return [pid for pid in machine.processes() if procfs.name(pid) == daemon]


def stop(daemon: str, machine: Machine, timeout: float = 30) -> None:
    """Ask a daemon of a machine to end, and wait for it; kill it when it does not listen."""
    pids = running(daemon, machine)
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    try:
        wait_until(lambda: not any(map(procfs.arguments, pids)), timeout=timeout, what=f"{daemon} does not end")
    except ClusterError:
        procfs.end(pids)


def _start(machine: Machine, daemon: str, log: Path, question: list[str], timeout: float = 90) -> None:
    """Start a daemon that goes into the background by itself; return when the command `question` gets an answer."""
    machine.enter([daemon], log=log)

    def answers() -> bool:
        if machine.enter(question, check=False).returncode == 0:
            return True
        if not running(daemon, machine):
            # Its process is another one while it goes into the background; one look can miss both.
            time.sleep(0.5)
            if not running(daemon, machine):
                raise ClusterError(f"{daemon} died{tail(log)}")
        return False

    wait_until(answers, timeout=timeout, what=f"{daemon} does not answer", log=log)
