"""`site.prepare=job`: weights and data are prepared by a job without devices, and the run's own job waits for it."""

from conf.folder import RunFolder, write_whole
from conf.schema.run import RunConfig
from launcher.environment import for_submission
from launcher.slurm.executor import CommandExecutor
from launcher.slurm.flags import Flag, flags
from launcher.slurm.sbatch import read_job_id, submit_once
from launcher.slurm.script import arguments, launch_line, setup_lines

SCRIPT = "prepare.sbatch"
"""Name of the job's script in the run folder; its log is attempts/prepare-JOB.log."""
_OF_THE_RUN = frozenset(
    {"begin", "constraint", "dependency", "exclusive", "gpus-per-node", "gres", "mail-type", "mail-user", "nodelist",
     "reservation", "requeue", "signal"}
)  # fmt: skip
"""Flags that a run's nodes and devices are chosen by, or that are about its own start and end."""


def submit(config: RunConfig, folder: RunFolder) -> str:
    """Submit the job that prepares a frozen run; its id. Two for one run do the work once: the store is locked.

    Raises SiteError where Slurm refuses or is missing."""
    alone = config.model_copy(update={"cluster": config.cluster.model_copy(update={"nodes": 1})})
    asked = asks(alone, folder.id)
    script = folder.path / SCRIPT
    write_whole(
        script, CommandExecutor(folder, asked, setup_lines(alone, "prepare")).text(launch_line(alone, "prepare"))
    )
    output = str(folder.attempts).replace("%", "%%") + "/prepare-%j.log"
    place = [f"--chdir={folder.code}", f"--output={output}", str(script), *arguments(alone, folder)]
    return read_job_id(submit_once(["sbatch", "--parsable", *place], folder, for_submission(asked)))


def asks(config: RunConfig, run_id: str) -> dict[str, Flag]:
    """The flags of that job: those of the run, without its devices and what picks its nodes."""
    kept = {
        name: value for name, value in flags(config, run_id).items() if name not in _OF_THE_RUN and "gpu" not in name
    }
    return kept | {"job-name": f"{run_id}.prepare"}
