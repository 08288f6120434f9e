"""The common base of every group's model: strict, closed, documented, split into identity and operational fields."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Group(BaseModel):
    """A group of options.

    Unknown keys are refused, scalars are not coerced (an int is a valid float), and the docstring under each
    field is its description: unit, meaning of None, effect.
    """

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        use_attribute_docstrings=True,
        populate_by_name=True,
        validate_default=True,
        protected_namespaces=(),
        allow_inf_nan=False,
    )


RUN_NAME = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,119}$"
"""What names a folder: nothing that a shell or a path would take for something else."""
SHORT_NAME = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,39}$"
"""What names an option; four of them make a run id."""
TIME_LIMIT = r"^(\d+-)?\d{1,3}(:\d{1,2}){0,2}$"
"""A time limit as Slurm reads it: `minutes`, `hours:minutes:seconds` or `days-hours:minutes:seconds`."""


def operational(default: Any = ..., **kwargs: Any) -> Any:
    """A field that does not decide the result: it stays out of the run's identity."""
    return Field(default, json_schema_extra={"identity": False}, **kwargs)
