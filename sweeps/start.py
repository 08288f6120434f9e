"""Starting a trial's run inside a search's worker, by the very command that starts a run of its own."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from conf.folder import RunFolder, write_json, write_whole
from conf.schema.run import RunConfig
from launcher import environment, foreground, here, process
from launcher import start as starting
from launcher.slurm.script import arguments, render


@dataclass
class Child:
    """A run that this process has started."""

    process: "subprocess.Popen[bytes]"
    attempt: int
    log: Path
    ask: Callable[[int], None]
    """Asks it to leave; gets its pid."""
    script: bool
    """Whether it is a batch script, which passes notices on to the agents."""

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    def tell(self, number: signal.Signals) -> None:
        """Pass a signal on: a script knows notices, an agent by itself is asked to leave."""
        if not self.running:
            return
        if self.script:
            os.kill(self.process.pid, number)
        else:
            self.ask(self.process.pid)

    def end(self) -> None:
        """Ask it to leave and wait; kill it where it does not. Removes a log without a word."""
        if self.running:
            foreground.end(self.process, self.ask)
        if self.log.is_file() and self.log.stat().st_size == 0:
            self.log.unlink()


def start(config: RunConfig, folder: RunFolder, job_id: str | None, stop_at: int | None) -> Child:
    """Start the next attempt of a run; it saves and leaves after step `stop_at`, None: at its end.

    On Slurm the run's own batch script does it, as bash reads it: it takes the attempt's number, starts the agents on
    all nodes of this allocation, settles an end that they could not, and asks for the requeue of this very job."""
    for leftover in (folder.result_file, folder.stop_file, folder.save_file):
        leftover.unlink(missing_ok=True)
    if stop_at is not None:
        write_json(folder.stop_file, {"reason": "pruned", "step": stop_at})
    if config.cluster.kind == "local":
        return _local(config, folder)
    inside = config.cluster.kind == "here"
    if inside:
        job_id = here.allocation(config)
    write_whole(folder.script, render(config, folder))
    attempt = starting.next_attempt(folder)
    log = folder.attempts / f"slurm-{job_id}.log"
    ask = partial(_ask_here, str(job_id), folder) if inside else process.ask_to_leave
    child = _spawn(["bash", str(folder.script), *arguments(config, folder)], folder, log, attempt, ask, not inside)
    own: dict[str, Any] = {"pid": child.process.pid, "host": socket.gethostname()} if inside else {}
    folder.append_event("submitted", attempt, job_id=job_id, **own)
    return child


def _local(config: RunConfig, folder: RunFolder) -> Child:
    attempt = starting.new_attempt(folder)
    command = [config.site.python or sys.executable, "-m", "trainer", "agent", str(folder.path)]
    log = folder.attempt_folder(attempt) / "launch.log"
    env = environment.for_local(folder, attempt, config.site.environment)
    child = _spawn(command, folder, log, attempt, process.ask_to_leave, False, env)
    folder.append_event("submitted", attempt, job_id=None, pid=child.process.pid, host=socket.gethostname())
    return child


def _spawn(
    command: list[str],
    folder: RunFolder,
    log: Path,
    attempt: int,
    ask: Callable[[int], None],
    script: bool,
    env: dict[str, str] | None = None,
) -> Child:
    env = environment.without_training(os.environ) if env is None else env
    with open(log, "ab", opener=partial(os.open, mode=0o600)) as output:
        return Child(foreground.spawn(command, folder.code, env, output), attempt, log, ask, script)


def _ask_here(job_id: str, folder: RunFolder, pid: int) -> None:
    here.ask_to_leave(job_id, folder, pid)
