"""`cluster=here`: a run inside the present salloc or sbatch allocation, by the script that a job would run."""

import os
import signal

from conf.folder import RunFolder, write_whole
from conf.schema.run import RunConfig
from launcher import environment, foreground
from launcher import start as starting
from launcher.errors import InputError, SiteError
from launcher.slurm import queue
from launcher.slurm.command import available, call
from launcher.slurm.script import arguments, render


def start(config: RunConfig, folder: RunFolder, as_json: bool = False) -> int:
    """Carry a frozen run out on the nodes of the allocation that this command runs in, and follow it to its end.

    Gives the exit code: 0 done, 4 failed, 130 interrupted. Raises InputError where there is no allocation, or one of
    another size; SiteError without srun."""
    job_id = allocation(config)
    starting.clear(folder)
    write_whole(folder.script, render(config, folder))
    attempt = starting.next_attempt(folder)
    return foreground.carry_out(
        ["bash", str(folder.script), *arguments(config, folder)],
        folder,
        cwd=folder.code,
        env=environment.without_training(os.environ),
        log=folder.attempts / f"slurm-{job_id}.log",
        attempt=attempt,
        as_json=as_json,
        job_id=job_id,
        ask=lambda pid: ask_to_leave(job_id, folder, pid),
    )


def ask_to_leave(job_id: str, folder: RunFolder, pid: int) -> None:
    """Ask the agents of a run in an allocation to leave; `pid` is its srun, which would kill them at once itself."""
    try:
        for step in queue.find_steps(job_id, folder.id):
            call(["scancel", "--signal=TERM", step], queue.TIMEOUT)
    except SiteError:
        os.kill(pid, signal.SIGTERM)


def allocation(config: RunConfig) -> str:
    """Id of the allocation that this command runs in, checked against what the run asks for."""
    job_id = os.environ.get("SLURM_JOB_ID")
    if not job_id:
        raise InputError(
            "cluster=here runs inside an allocation, and SLURM_JOB_ID is not set: begin with `salloc --nodes=N`, or "
            "use a Slurm cluster such as cluster=8xh100"
        )
    nodes = os.environ.get("SLURM_JOB_NUM_NODES") or os.environ.get("SLURM_NNODES") or ""
    if nodes.isdigit() and int(nodes) != config.cluster.nodes:
        raise InputError(
            f"the allocation {job_id} has {nodes} nodes, the run asks for {config.cluster.nodes}: add "
            f"cluster.nodes={nodes}"
        )
    if not available("srun"):
        raise SiteError("there is no srun on the PATH: cluster=here starts the run on its nodes with it")
    return job_id
