"""How rules look at a config: a field by its path, whether it was set, and what follows for rows and steps."""

from functools import cache
from typing import Any

from pydantic import BaseModel

from conf.schema.fields import fields
from conf.schema.run import RunConfig

SHARDED = ("fsdp2", "zero3")
"""Strategies under which a worker holds a part of each parameter."""
DEEPSPEED = ("zero1", "zero2", "zero3")
"""Strategies that DeepSpeed carries out."""


def value_at(config: RunConfig, path: str) -> Any:
    """The value at a dotted path, spelled as a person types it."""
    found: Any = config
    for name in path.split("."):
        known = type(found).model_fields if isinstance(found, BaseModel) else {}
        found = getattr(found, next((field for field, info in known.items() if info.alias == name), name))
    return found


def is_set(config: RunConfig, path: str) -> bool:
    """Whether a field holds something else than its default."""
    return bool(value_at(config, path) != _default(path))


@cache
def _default(path: str) -> Any:
    return fields()[path].get_default(call_default_factory=True)


def spelled(path: str, value: Any) -> str:
    """A field and its value in the words of the command line."""
    text = {None: "null", True: "true", False: "false"}.get(value) if value is None or isinstance(value, bool) else None
    return f"{path}={value if text is None else text}"


def has_held_out_rows(config: RunConfig) -> bool:
    """Whether rows are held out and evaluated, as far as the config says."""
    data = config.data
    if config.evaluation.max_rows == 0:
        return False
    if data.source == "python_docs" or data.eval_path is not None or data.eval_sets:
        return True
    return data.eval_rows is not None or data.eval_fraction > 0


def evaluates_during_training(config: RunConfig) -> bool:
    """Whether held-out rows are evaluated between the first and the last step, too."""
    return config.evaluation.interval is not None or config.evaluation.per_epoch is not None
