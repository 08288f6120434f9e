"""The workers of one node as processes: their environment, which is torch elastic's, start, exit codes and end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

from conf.folder import RunFolder
from conf.schema.run import RunConfig
from trainer.job import Job, usable_cpus
from trainer.lifeline import AGENT_VARIABLE
from trainer.network import interface_towards
from trainer.offline import SWITCHES, python_path
from trainer.rendezvous import Meeting
from trainer.signals import DUMP, TELL, held_back

ENDING = 30.0
"""Seconds that killed workers may take to be gone."""


class Workers:
    """The workers of this node, started together."""

    def __init__(self, command: list[str], environments: list[dict[str, str]]) -> None:
        """Start one process an environment, each in a session of its own, with this process's output and variables.

        Not by torch elastic, whose variables these are: workers would wait for the agent to import torch, and then
        import it themselves; so both do at the same time. Raises OSError where no process can be started."""
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            with held_back():
                for own in environments:
                    started = subprocess.Popen(command, env=os.environ | own, start_new_session=True)
                    self._processes.append(started)
        except OSError:
            self.stop()
            raise

    def exit_codes(self) -> dict[int, int]:
        """Exit codes of the workers that have ended, by local rank; minus the signal's number for a killed one."""
        codes = {rank: process.poll() for rank, process in enumerate(self._processes)}
        return {rank: code for rank, code in codes.items() if code is not None}

    @property
    def pids(self) -> list[int]:
        """Process ids by local rank."""
        return [process.pid for process in self._processes]

    def tell(self) -> None:
        """Tell every worker that it must save and leave."""
        for process in self._processes:
            process.send_signal(TELL)

    def dump_stacks(self, say: Callable[[str], None]) -> None:
        """Have every worker write the stacks of its threads to the node's log."""
        for local, process in enumerate(self._processes):
            say(f"stacks of worker {local} of this node, process {process.pid}:")
            process.send_signal(DUMP)
            time.sleep(0.5)

    def stop(self) -> None:
        """SIGKILL to every worker's process group: to a worker SIGTERM is a notice, and what must be saved is saved.

        Waits at most ENDING seconds; what withstands is the caller's to find."""
        for process in self._processes:
            # The group even of one that has ended: what it left behind, as data loaders of one that crashed.
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
        deadline = time.monotonic() + ENDING
        for process in self._processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                pass


def environments(
    config: RunConfig, folder: RunFolder, attempt: int, job: Job, meeting: Meeting, environ: Mapping[str, str]
) -> list[dict[str, str]]:
    """The variables of each worker of this node, by local rank, to be laid over the agent's own."""
    here = config.cluster.devices_per_node
    shared = {
        **SWITCHES,
        "SLURMWRIGHT_ATTEMPT": str(attempt),
        AGENT_VARIABLE: str(os.getpid()),
        "PYTHONPATH": python_path(folder, config.offline),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": str(cpu_threads(config, environ)),
        "MASTER_ADDR": meeting.host,
        "MASTER_PORT": str(meeting.port),
        "WORLD_SIZE": str(config.world_size),
        "LOCAL_WORLD_SIZE": str(here),
        "GROUP_RANK": str(job.rank),
        "GROUP_WORLD_SIZE": str(len(job.nodes)),
        "ROLE_NAME": "worker",
        "ROLE_WORLD_SIZE": str(config.world_size),
        "TORCHELASTIC_RUN_ID": meeting.id,
        "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCHELASTIC_MAX_RESTARTS": "0",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        # At its default level torch fills the log with stack traces of connections that end as they should.
        "TORCH_CPP_LOG_LEVEL": environ.get("TORCH_CPP_LOG_LEVEL", "ERROR"),
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": environ.get("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1"),
        **interfaces(job, environ),
    }
    if config.gpu.device == "cpu":
        shared["DS_ACCELERATOR"] = "cpu"
    ranks = [(local, job.rank * here + local) for local in range(here)]
    return [shared | {"LOCAL_RANK": str(local), "RANK": str(rank), "ROLE_RANK": str(rank)} for local, rank in ranks]


def cpu_threads(config: RunConfig, environ: Mapping[str, str]) -> int:
    """Threads of one worker: cluster.cpu_threads, else OMP_NUM_THREADS where it is set, else an even share."""
    if config.cluster.cpu_threads is not None:
        return config.cluster.cpu_threads
    given = environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    return max(1, usable_cpus(config.cluster, environ) // config.cluster.devices_per_node)


def interfaces(job: Job, environ: Mapping[str, str]) -> dict[str, str]:
    """Which interface gloo and tensorpipe take, where the site has not said.

    By themselves they take the one that the machine's own name resolves to: often the loopback. NCCL finds its own."""
    names = [name for name in ("GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME") if name not in environ]
    if len(job.nodes) == 1:
        return dict.fromkeys(names, "lo")
    other = job.nodes[1] if job.is_head else job.head
    try:
        interface = interface_towards(other)
    except OSError as error:
        interface = None
        print(f"agent: {job.node} cannot resolve {other}: {error}", file=sys.stderr, flush=True)
    return dict.fromkeys(names, interface) if interface else {}


def worker_command(folder: RunFolder) -> list[str]:
    """What a worker runs."""
    return [sys.executable, "-m", "trainer", "worker", str(folder.path)]
