"""Rule against secrets: what stands in a config is kept in the run folder, where backups and colleagues find it."""

import re
from collections.abc import Iterator

from conf.schema.rules.registry import Finding, rule
from conf.schema.run import RunConfig

_SHAPES = re.compile(
    r"\b(hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|AKIA[A-Z0-9]{16}"
    r"|glpat-[\w-]{16,}|xox[abp]-[\w-]{10,}|wandb_v\d_\w{16,})"
)
"""How the tokens of hubs, trackers and clouds begin."""
_ASSIGNED = re.compile(
    r"(^|[_\W])(token|secret|password|passwd|api_?key|access_?key)\s*=\s*[\"']?[^\s\"'$]{8,}", re.IGNORECASE
)
"""A value written out behind a name that says what it holds; `$(cat FILE)` and `$NAME` are none."""


@rule(
    "no-secrets",
    reads=("site.environment", "site.sbatch", "site.setup", "site.srun"),
    reason="config.yaml and job.sbatch are kept, and the script shows up in scontrol and sacct",
    fix="export the secret in the shell that submits, or name a file that holds it",
    fails="the secret stands in the run folder, in scontrol show job and in backups",
)
def no_secrets(config: RunConfig) -> Iterator[Finding]:
    site = config.site
    values = [(f"site.environment.{name}", value) for name, value in site.environment.items()]
    values += [(f"site.sbatch.{name}", str(value)) for name, value in site.sbatch.items()]
    values += [("site.setup", line) for line in site.setup] + [("site.srun", line) for line in site.srun]
    for field, text in values:
        if _SHAPES.search(text) or _ASSIGNED.search(text):
            yield (
                field,
                "the value looks like a secret, and the files of a run are kept: leave it out, export it in the shell "
                "that submits (the job inherits it), or name a file, as HF_TOKEN_PATH",
            )
