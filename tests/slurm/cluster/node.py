"""One compute node as the tests handle it."""

import subprocess
from collections.abc import Sequence

from . import daemons, network
from .layout import Layout
from .machine import Machine


class Node:
    """A compute node: cut it off, pull its plug, bring it back."""

    def __init__(self, layout: Layout, name: str) -> None:
        self.name = name
        self.layout = layout
        self.machine = Machine(layout, name)
        self.head = Machine(layout, "head")

    def __repr__(self) -> str:
        return f"Node({self.name})"

    @property
    def address(self) -> str:
        """Its address on the cluster's network."""
        return self.layout.address(self.name)

    @property
    def alive(self) -> bool:
        """Whether it is switched on."""
        return self.machine.pid is not None

    def run(
        self, command: Sequence[str], *, timeout: float = 20, check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command on it, past Slurm."""
        return self.machine.enter(command, timeout=timeout, check=check)

    def processes(self) -> list[int]:
        """Processes that run on it, as the real machine numbers them; empty when it is off."""
        return self.machine.processes()

    def cut(self) -> None:
        """Cut it off the network; its processes run on."""
        network.set_link(self.head, self.name, "down")

    def restore(self) -> None:
        """Undo `cut`."""
        network.set_link(self.head, self.name, "up")

    def kill(self) -> None:
        """Pull its plug: all its processes are dead on return, and the network heard no goodbye from them."""
        if self.alive:
            self.cut()
            self.machine.kill()
        network.unplug(self.head, self.machine)

    def start(self) -> None:
        """Switch it on; without effect on one that is on. `Cluster.wait_idle` tells when Slurm has it back."""
        if self.alive:
            return
        self.machine.start_in(self.head)
        # Its shared memory is its own and is lost with it.
        self.machine.enter(["mount", "-t", "tmpfs", "tmpfs", "/dev/shm"])
        network.plug_in(self.layout, self.head, self.machine)
        daemons.start_slurmd(self.layout, self.machine)
