"""The cluster as a whole: boot, use, take down."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import daemons, packages
from .commands import ClusterError, run, wait_until
from .head import configure, make_folder, start_supervisor
from .layout import NODES, Layout, ProcTrack, default_folder, load
from .lock import lock
from .machine import Machine, marked
from .node import Node
from .teardown import find, tear_down


class Cluster:
    """A running cluster. Build it with `boot`, or with `attach` when it is up already."""

    def __init__(self, layout: Layout) -> None:
        self._use(layout)
        self._supervisor: subprocess.Popen[bytes] | None = None

    @classmethod
    def boot(
        cls,
        suffix: str,
        *,
        owner: int | None = None,
        folder: Path | None = None,
        proctrack: ProcTrack = "linuxproc",
        accounting: bool = True,
        more: str = "",
    ) -> "Cluster":
        """Boot a cluster and return when it takes jobs. It ends with the process `owner`; without one, only by `down`.

        `more` are lines of slurm.conf for a site that differs from ours.

        What a dead cluster of the same suffix left behind is removed first; a living one is a ClusterError.
        """
        packages.ensure(accounting)
        layout = Layout(suffix, (folder or default_folder(suffix)).absolute(), proctrack, accounting, more)
        with lock(suffix):
            if marked(suffix):
                raise ClusterError(f"cluster {suffix!r} is up: python -m tests.slurm.cluster down --suffix {suffix}")
            rest = find(suffix, folder)
            if rest is not None:
                tear_down(rest)
            cluster = cls(layout)
            try:
                make_folder(layout)
                cluster._supervisor = start_supervisor(layout, owner)
                cluster._use(configure(layout))
                cluster._start_daemons()
            except BaseException:
                cluster._remove()
                raise
            return cluster

    @classmethod
    def attach(cls, suffix: str) -> "Cluster":
        """The running cluster of this suffix; ClusterError when there is none."""
        folders = {Path(marks[2]) for marks in marked(suffix).values()}
        if not folders:
            raise ClusterError(f"no cluster {suffix!r} is up: python -m tests.slurm.cluster up --suffix {suffix}")
        return cls(load(folders.pop()))

    def _use(self, layout: Layout) -> None:
        self.layout = layout
        self.head = Machine(layout, "head")
        self.nodes = [Node(layout, name) for name in NODES]

    def _start_daemons(self) -> None:
        with ThreadPoolExecutor() as pool:
            database = pool.submit(daemons.start_database, self.layout, self.head) if self.layout.accounting else None
            daemons.start_munged(self.layout, self.head)
            nodes = [pool.submit(node.start) for node in self.nodes]
            if database is not None:
                database.result()
                daemons.start_slurmdbd(self.layout, self.head)
                daemons.add_account(self.layout, self.head)
            daemons.start_slurmctld(self.layout, self.head)
            for node in nodes:
                node.result()
        self.wait_idle(60)

    @property
    def env(self) -> dict[str, str]:
        """Environment variables by which Slurm's commands find this cluster."""
        return {"SLURM_CONF": str(self.layout.slurm_conf)}

    def node(self, name: str) -> Node:
        """A node by its name."""
        return self.nodes[NODES.index(name)]

    def processes(self, node: str) -> list[int]:
        """Processes that run on a node, as the real machine numbers them; empty when it is off."""
        return self.node(node).processes()

    def run(
        self,
        command: Sequence[str],
        *,
        timeout: float = 90,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        text: str = "",
        check: bool = True,
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command on the login node, with `env` on top of this process's environment and `text` as its input."""
        full = {**os.environ, **self.env, **(env or {})}
        return run(command, timeout=timeout, env=full, cwd=cwd, text=text, check=check)

    def sbatch(self, script: str, *options: str, cwd: Path) -> str:
        """Submit the lines of a bash script from the folder `cwd`; returns the job's id."""
        text = f"#!/bin/bash\n{script}\n"
        return self.run(["sbatch", "--parsable", *options], text=text, cwd=cwd).stdout.strip().split(";")[0]

    def job(self, job_id: str) -> dict[str, str]:
        """What scontrol knows of a job: JobState, Restarts, NodeList, ...; empty when it has forgotten the job."""
        shown = self.run(["scontrol", "--oneliner", "show", "job", job_id], check=False).stdout
        return dict(re.findall(r"(\S+?)=(\S*)", shown.partition("\n")[0]))

    def states(self) -> dict[str, str]:
        """What Slurm thinks of each node: idle, mixed, allocated, down*, drained, ..."""
        shown = self.run(["sinfo", "--noheader", "--Node", "--partition=low", "--format=%N %T"]).stdout
        return dict(line.split() for line in shown.splitlines())

    def wait_idle(self, timeout: float = 180) -> None:
        """Return when no job is left and every node is idle; ClusterError with slurmctld's last words otherwise."""

        def idle() -> bool:
            jobs = self.run(["squeue", "--noheader"]).stdout
            return not jobs.strip() and self.states() == dict.fromkeys(NODES, "idle")

        log = self.layout.log("slurmctld")
        wait_until(idle, timeout=timeout, what="a job is left or a node is not idle", log=log)

    def settle(self, timeout: float = 180) -> None:
        """Make the cluster as good as new: no jobs, all nodes on, connected and idle."""
        jobs = self.run(["squeue", "--noheader", "--format=%A"]).stdout.split()
        if jobs:
            self.run(["scancel", *jobs], check=False)
        for node in self.nodes:
            node.start()
            node.restore()
        for name, state in self.states().items():
            if "drain" in state:
                self.run(["scontrol", "update", f"nodename={name}", "state=resume"], check=False)
        self.wait_idle(timeout)

    def restart_slurmctld(self) -> None:
        """Stop slurmctld and start it again from its saved state."""
        daemons.stop("slurmctld", self.head)
        daemons.start_slurmctld(self.layout, self.head)

    def stop_slurmdbd(self) -> None:
        """Stop slurmdbd: sacct and sacctmgr fail, jobs go on."""
        daemons.stop("slurmdbd", self.head)

    def start_slurmdbd(self) -> None:
        """Start slurmdbd again and return when it answers."""
        daemons.start_slurmdbd(self.layout, self.head)

    def down(self) -> None:
        """Remove every trace of the cluster; without effect when there is none left."""
        with lock(self.layout.suffix):
            self._remove()

    def _remove(self) -> None:
        tear_down(self.layout)
        if self._supervisor is not None:
            self._supervisor.wait(10)
