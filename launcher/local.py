"""`cluster=local`: the agent on this machine, carried out by the command itself.

submitit's LocalExecutor is not used: its controller kills a task one second after SIGINT, which leaves the agent no
time to end its workers, overwrites CUDA_VISIBLE_DEVICES, ends every job after a time limit, and is made to outlive the
program that started it. The command that runs is the same as under Slurm."""

import sys

from conf.folder import RunFolder
from conf.schema.run import RunConfig
from launcher import environment, foreground
from launcher import start as starting


def start(config: RunConfig, folder: RunFolder, as_json: bool = False) -> int:
    """Carry a frozen run out on this machine and follow it to its end.

    Gives the exit code: 0 done, 4 failed, 130 interrupted. With `as_json` one document on stdout at the end."""
    starting.clear(folder)
    attempt = starting.new_attempt(folder)
    command = [config.site.python or sys.executable, "-m", "trainer", "agent", str(folder.path)]
    return foreground.carry_out(
        command,
        folder,
        cwd=folder.code,
        env=environment.for_local(folder, attempt, config.site.environment),
        log=folder.attempt_folder(attempt) / "launch.log",
        attempt=attempt,
        as_json=as_json,
    )
