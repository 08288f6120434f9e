"""The environment of what the launcher starts: nothing of the job or the training that it runs inside of leaks in."""

import os
from collections.abc import Iterable, Mapping

from conf.folder import RunFolder

KEPT = frozenset({"SLURM_CONF", "SLURM_JWT", "SLURM_CLUSTERS"})
"""Where Slurm is and who one is, not which job one is in."""
_JOB = (
    "SLURM_", "SLURMD_", "SBATCH_", "SRUN_", "SALLOC_", "SPANK_", "PMI_", "PMI2_", "PMIX_", "OMPI_", "SUBMITIT_",
)  # fmt: skip
_TRAINING = ("MASTER_", "TORCHELASTIC_", "GROUP_", "ROLE_")
_EXACT = frozenset({"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "SLURMWRIGHT_ATTEMPT"})
_DEVICES = frozenset({"CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"})
_OTHER_NAMES = {"timelimit": "time", "array-inx": "array", "mem-per-node": "mem"}
"""Variables of sbatch that are not called as their flag."""


def for_submission(flags: Iterable[str], present: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for sbatch, which the job inherits.

    Inside a job everything of that job goes. Outside, a person's SBATCH_ defaults stay (SBATCH_ACCOUNT), but for
    those of `flags`: a variable would override what the script says.
    """
    present = os.environ if present is None else present
    inside = "SLURM_JOB_ID" in present or "SLURM_JOBID" in present
    written = {*flags, "array", "wait", "chdir", "output", "error", "signal", "no-requeue", "test-only", "parsable"}
    kept = {}
    for name, value in without_training(present).items():
        if inside and (name.startswith(_JOB) or name in _DEVICES) and name not in KEPT:
            continue
        if name.startswith("SBATCH_"):
            flag = name.removeprefix("SBATCH_").lower().replace("_", "-")
            if _OTHER_NAMES.get(flag, flag) in written:
                continue
        kept[name] = value
    return kept


def for_local(folder: RunFolder, attempt: int, more: Mapping[str, str]) -> dict[str, str]:
    """The environment of an agent that this machine runs outside of Slurm; `more` is the site's own variables."""
    kept = {
        name: value for name, value in without_training(os.environ).items() if not name.startswith(_JOB) or name in KEPT
    }
    return kept | dict(more) | for_agent(folder, attempt)


def for_agent(folder: RunFolder, attempt: int) -> dict[str, str]:
    """What every agent needs: its code is the run's, and it knows its attempt."""
    return {
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": str(folder.code),
        "PYTHONUNBUFFERED": "1",
        "SLURMWRIGHT_ATTEMPT": str(attempt),
    }


def without_training(present: Mapping[str, str]) -> dict[str, str]:
    """An environment without the variables by which torch's workers know each other."""
    return {name: value for name, value in present.items() if not name.startswith(_TRAINING) and name not in _EXACT}
