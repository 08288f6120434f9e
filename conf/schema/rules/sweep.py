"""Rule on what is said of a sweep in a command of one run."""

from collections.abc import Iterator

from conf.schema.fields import fields, group_of
from conf.schema.rules.reading import is_set
from conf.schema.rules.registry import Finding, rule
from conf.schema.run import RunConfig


@rule(
    "sweep-alone",
    reads=("sweep", "budget"),
    reason="one run takes no notice of what is said of a sweep",
    fix="add -m, or leave it out",
    warning=True,
)
def sweep_alone(config: RunConfig) -> Iterator[Finding]:
    if (config.sweep, config.budget) == _NOTHING:
        return
    for path, info in fields().items():
        if path.startswith(("sweep.", "budget.")) and group_of(info.annotation) is None and is_set(config, path):
            yield path, f"{path} has no effect on one run: add -m for several, or leave it out"


_NOTHING = (RunConfig().sweep, RunConfig().budget)
