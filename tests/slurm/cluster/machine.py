"""A computer made of namespaces: own processes, network, host name and mounts, on the file system of the real one."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from . import procfs
from .commands import PLAIN_ENVIRONMENT, ClusterError, run, wait_until
from .layout import Layout

MARK = "slurmwright-cluster"
KINDS = ("--mount", "--uts", "--ipc", "--net", "--pid")


def marks(layout: Layout, name: str) -> list[str]:
    """Last arguments of a process by which `marked` finds it: no file and no memory is needed to find a cluster."""
    return [MARK, layout.suffix, str(layout.folder), name]


def marked(suffix: str) -> dict[int, list[str]]:
    """Process id and marks of all that holds a cluster together: its supervisor, its machines' inits, their parents."""
    found = {pid: procfs.arguments(pid)[-4:] for pid in procfs.pids()}
    return {pid: last for pid, last in found.items() if len(last) == 4 and last[:2] == [MARK, suffix]}


def init_command(layout: Layout, name: str) -> list[str]:
    """Command that makes a machine's namespaces and its init; the machine dies when that command does."""
    init = [sys.executable, "-I", "-S", str(Path(__file__).with_name("init.py")), *marks(layout, name)]
    return ["unshare", *KINDS, "--fork", "--kill-child", "--mount-proc", *init]


class Machine:
    """One machine of a cluster, by name. It keeps no state: all is looked up in /proc when needed."""

    def __init__(self, layout: Layout, name: str) -> None:
        self.layout = layout
        self.name = name

    @property
    def pid(self) -> int | None:
        """Process id of its init as the real machine sees it; None when it is off."""
        wanted = marks(self.layout, self.name)
        for pid, found in marked(self.layout.suffix).items():
            # A forked child that has not yet become python still carries unshare's command line.
            if found == wanted and procfs.arguments(pid)[1:3] == ["-I", "-S"] and procfs.is_init(pid):
                return pid
        return None

    def start_in(self, host: "Machine") -> None:
        """Switch on, inside the pid and mount namespaces of another machine: it cannot outlive that one."""
        log = self.layout.log(self.name)
        host.enter(["setsid", "--fork", *init_command(self.layout, self.name)], log=log)
        self.wait_on(log)

    def wait_on(self, log: Path) -> None:
        """Wait for the init of a machine that was just switched on and give it its host name."""
        wait_until(
            lambda: self.pid is not None,
            timeout=20,
            what=f"namespaces of {self.name} (is this a container without CAP_SYS_ADMIN?)",
            log=log,
        )
        self.enter(["hostname", self.name])

    def enter(
        self,
        command: Sequence[str],
        *,
        kinds: Sequence[str] = KINDS,
        timeout: float = 20,
        log: Path | None = None,
        text: str = "",
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on this machine, in a plain environment; `kinds` limits the namespaces that it enters."""
        pid = self.pid
        if pid is None:
            raise ClusterError(f"{self.name} is off")
        prefix = ["nsenter", "--target", str(pid), *kinds, "--"]
        env = PLAIN_ENVIRONMENT | {"SLURM_CONF": str(self.layout.slurm_conf)}
        return run([*prefix, *command], timeout=timeout, env=env, log=log, text=text, check=check)

    def processes(self) -> list[int]:
        """Processes that run on this machine, its init included; empty when it is off."""
        pid = self.pid
        own = procfs.namespace(pid) if pid is not None else ""
        return [other for other in procfs.pids() if own and procfs.namespace(other) == own]

    def kill(self) -> None:
        """Power cut: the kernel kills all processes of the pid namespace before its init counts as dead."""
        pid = self.pid
        if pid is not None:
            procfs.end([pid])
