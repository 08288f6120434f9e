"""Checks that need the site: is there a Slurm, and would it take this job? Nothing is submitted."""

import os
import shutil
import tempfile
from pathlib import Path

from conf.folder import RunFolder
from conf.schema.identity import run_id
from conf.schema.problems import Problem
from conf.schema.run import RunConfig
from launcher.complete import require
from launcher.environment import for_submission
from launcher.errors import SiteError
from launcher.here import allocation
from launcher.slurm.command import NoAnswer, Refused, call
from launcher.slurm.flags import flags
from launcher.slurm.script import render
from launcher.slurm.submit import dependencies

TIMEOUT = 30.0
"""Seconds for sbatch's own check."""
FIELDS = {
    "account": "site.account, or site.partition where the account may not use it",
    "partition": "site.partition",
    "qos": "site.qos",
    "time limit": "cluster.time",
    "node configuration": "cluster.nodes, cluster.devices_per_node, site.mem, site.cpus_per_task or site.constraint",
    "node count": "cluster.nodes",
    "more processors": "site.cpus_per_task",
    "gres": "gpu.type or site.gpu_request",
    "generic resource": "gpu.type or site.gpu_request",
    "memory": "site.mem",
    "feature": "site.constraint",
    "reservation": "site.reservation",
    "dependency": "site.dependency or after",
    "node list": "site.nodelist or site.exclude",
    "invalid node name": "site.nodelist or site.exclude",
    "license": "site.sbatch.licenses",
}
"""What Slurm's refusals speak of, and the field that says it."""


def check(config: RunConfig) -> list[Problem]:
    """Problems that only the site can know, for a derived config. Takes one call of sbatch at most.

    Raises SiteError where there is no Slurm or Slurm would refuse the job, InputError where `after` or `here` name what
    is not there, AssetsMissing where an offline run would not find its weights or rows."""
    problems = [*_places(config), *_python(config)]
    if problems:
        return problems
    if config.offline:
        require(config)
    if config.cluster.kind == "slurm":
        _test_only(config)
    elif config.cluster.kind == "here":
        allocation(config)
        return _unused_devices(config)
    return []


def _unused_devices(config: RunConfig) -> list[Problem]:
    """A warning where the allocation holds devices and the run would train on CPUs."""
    held = os.environ.get("SLURM_GPUS_ON_NODE") or os.environ.get("SLURM_JOB_GPUS")
    if not held or config.gpu.name != "none":
        return []
    message = "the allocation holds GPUs, and this run trains on CPUs: say which they are, as gpu=h100"
    return [Problem("gpu", message, "here-devices", warning=True)]


def _test_only(config: RunConfig) -> None:
    name = run_id(config)
    dependency = dependencies(config)
    command = ["sbatch", "--test-only", *([f"--dependency={dependency}"] if dependency else [])]
    with tempfile.NamedTemporaryFile("w", prefix="slurmwright-", suffix=".sbatch") as file:
        file.write(render(config, RunFolder(Path(config.run.root) / name)))
        file.flush()
        try:
            call([*command, file.name], TIMEOUT, for_submission(flags(config, name)))
        except NoAnswer:
            raise
        except Refused as error:
            raise SiteError(f"Slurm would refuse this job: {error.message}{_hint(error.message)}") from None


def _hint(said: str) -> str:
    named = [field for word, field in FIELDS.items() if word in said.lower()]
    return f". Look at {named[0]}" if named else ""


def _places(config: RunConfig) -> list[Problem]:
    problems = []
    mounted = config.site.container.kind != "none"
    for field, place in (("run.root", config.run.root), ("store.root", config.store.root or "")):
        if config.cluster.kind == "slurm" and ("\\" in place or not place.isprintable()):
            problems.append(
                Problem(field, f"{place!r}: Slurm cannot write to a path with a backslash or a control character: "
                               "use another folder", "slurm-path"))  # fmt: skip
        if mounted and any(char in place for char in ":,"):
            problems.append(Problem(field, f"{place}: a folder to be mounted in a container cannot have : or , in its "
                                           "path", "container-path"))  # fmt: skip
    return problems


def _python(config: RunConfig) -> list[Problem]:
    python = config.site.python
    if python is None or config.cluster.kind != "local" or shutil.which(python):
        return []
    return [Problem("site.python", f"site.python={python} is no program: give the path of one", "site-python")]
