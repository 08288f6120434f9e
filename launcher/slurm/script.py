"""The batch script of a run: a pure function of its config and its id, free of paths, times and chance."""

import shlex
import sys
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from conf.folder import RunFolder
from conf.schema.run import RunConfig
from launcher.slurm.executor import CommandExecutor
from launcher.slurm.flags import flags

_TEMPLATES = Path(__file__).resolve().parents[2] / "slurm_templates"
"""Beside our own rooms, whatever the present folder holds."""


def render(config: RunConfig, folder: RunFolder) -> str:
    """The exact text that sbatch gets for a run. Needs no Slurm, reads and writes nothing of the run folder."""
    return executor(config, folder).text(launch_line(config))


def executor(config: RunConfig, folder: RunFolder, dependency: str | None = None) -> CommandExecutor:
    """submitit's executor, set up for a run; `dependency` as sbatch reads it, where it is known only now."""
    places = command(config, folder, dependency)[2:]
    return CommandExecutor(folder, flags(config, folder.id), setup_lines(config), places)


def command(config: RunConfig, folder: RunFolder, dependency: str | None = None) -> list[str]:
    """The command line of sbatch: the place of a run, which the script gets as arguments.

    It is not written into the script: so that is the same for everybody, and no shell ever reads a path."""
    output = str(folder.attempts).replace("%", "%%") + "/slurm-%j.log"  # sbatch reads it as a pattern
    waits = [f"--dependency={dependency}"] if dependency else []
    place = [f"--chdir={folder.code}", f"--output={output}", str(folder.script)]
    return ["sbatch", "--parsable", *waits, *place, *arguments(config, folder)]


def arguments(config: RunConfig, folder: RunFolder) -> list[str]:
    """What the script is called with: run folder, Python on the compute nodes, store."""
    own = sys.executable if config.site.container.kind == "none" else "python3"
    return [str(folder.path), config.site.python or own, config.store.root or ""]


def launch_line(config: RunConfig, verb: str = "agent", *, array: bool = False) -> str:
    """The command of the script: srun, a container where there is one, the agent or another verb of the trainer.

    In an array each element finds its run in the list of its chunk."""
    return _fill("launch.sh.j2", config, verb, array).rstrip("\n")


def setup_lines(config: RunConfig, verb: str = "agent", *, array: bool = False) -> list[str]:
    """What the script does before that."""
    return _fill("setup.sh.j2", config, verb, array).splitlines()


def _fill(template: str, config: RunConfig, verb: str, array: bool) -> str:
    site, cluster = config.site, config.cluster
    values: dict[str, Any] = {
        "verb": verb,
        "array": array,
        "modules": site.modules,
        "environment": site.environment,
        "site_lines": [line for entry in site.setup for line in entry.splitlines()],
        "nccl": config.gpu.device == "cuda" and config.world_size > 1,
        "inside": cluster.kind == "here",
        "nodes": cluster.nodes,
        "cpus_per_task": site.cpus_per_task,
        "srun": site.srun,
        "container": site.container.kind,
        "image": site.container.image or "",
        "mounts": site.container.mounts,
        "nv": config.gpu.device == "cuda",
    }
    return _templates().get_template(template).render(values)


@cache
def _templates() -> Environment:
    """The templates, each read and compiled once in a process."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["quote"] = lambda value: shlex.quote(str(value))
    return environment
