"""Rules across fields: plain functions, each with an id and the fields that it reads.

A rule judges a derived config and the target world (nodes x devices asked for), never the login node. Add one by
writing a function under @rule in the module of its subject; `check` runs all whose fields are valid. Errors are what
fails in the job, or goes wrong there without a word; warnings are options without effect, and what is seldom meant.
"""

from conf.schema.problems import Problem
from conf.schema.rules import (  # noqa: F401  (importing registers the rules)
    adapter_sharding,
    adapters,
    attention,
    batch,
    checkpoints,
    cluster,
    context,
    data,
    experts,
    intervals,
    layout,
    memory,
    models,
    modules,
    optimiser,
    precision,
    quantisation,
    rows,
    schedule,
    secrets,
    site,
    sweep,
    targets,
    tracking,
)
from conf.schema.rules.registry import RULES
from conf.schema.run import RunConfig


def check(config: RunConfig, invalid: frozenset[str] = frozenset()) -> list[Problem]:
    """All problems and warnings of a derived config; rules that read a field in `invalid` are left out.

    `invalid` holds dotted paths of fields whose value was refused already; a group's name stands for all its fields.
    """
    found: list[Problem] = []
    for rule in RULES.values():
        if not any(_touches(field, bad) for field in rule.reads for bad in invalid):
            found.extend(rule.find(config))
    return found


def _touches(field: str, bad: str) -> bool:
    return field == bad or field.startswith(bad + ".") or bad.startswith(field + ".")
