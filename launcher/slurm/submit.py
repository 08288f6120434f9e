"""Submission of a frozen run as one Slurm job."""

from typing import Any

from conf.folder import RunFolder
from conf.schema.run import RunConfig
from launcher import start
from launcher.errors import InputError
from launcher.runs import find
from launcher.slurm import preparation
from launcher.slurm.script import command, executor, launch_line
from launcher.state import last_job


def submit(config: RunConfig, folder: RunFolder) -> str:
    """Submit a run: write job.sbatch as it goes to sbatch, and the event `submitted`. Gives the job id.

    Raises InputError where `after` names a run that cannot be waited for, SiteError where Slurm refuses or is missing.
    """
    dependency = dependencies(config)
    start.clear(folder)
    more: dict[str, Any] = {}
    if config.site.prepare == "job" and not start.prepared(folder):
        more["prepare_job_id"] = preparation.submit(config, folder)
        others = dependency if config.after is not None else config.site.dependency
        dependency = f"afterok:{more['prepare_job_id']}" + (f",{others}" if others else "")
    job = executor(config, folder, dependency)._submit_command(launch_line(config))
    line = command(config, folder, dependency)
    folder.append_event("submitted", start.next_attempt(folder), job_id=job.job_id, command=line, **more)
    return str(job.job_id)


def dependencies(config: RunConfig) -> str | None:
    """What a run waits for besides `site.dependency`, joined with it; None where `after` is not given.

    Raises InputError for a run that is unknown, has failed, or never went to Slurm."""
    if config.after is None:
        return None
    other = find(config.after, config.run.root)
    status = other.result().get("status")
    if status == "completed":
        return config.site.dependency
    if status is not None:
        raise InputError(
            f"after={config.after}: that run has {status}, and this one would wait for ever. Type "
            f"`python -m launcher resume {config.after}` first, or leave `after` out"
        )
    job_id = last_job(other)
    if job_id is None:
        raise InputError(f"after={config.after}: that run was never submitted to Slurm, so no job can wait for it")
    return f"afterok:{job_id}" + (f",{config.site.dependency}" if config.site.dependency else "")
