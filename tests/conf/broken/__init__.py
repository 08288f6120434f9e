"""What breaks each rule: a valid command line, one change to it, and what is said. By areas; test_rules.py runs all."""

from typing import Any, NamedTuple


class Case(NamedTuple):
    """A command that is accepted without a warning, and the change that breaks a rule."""

    base: str
    """Words of the command line. `{folder}` is a folder with rows.jsonl, rows.md and model/ in it."""
    change: dict[str, Any]
    """Fields that are set beside, by their dotted paths."""
    field: str
    """Field that the problem is found at."""
    says: str
    """A piece of the message."""


LOCAL = "model=smollm2_135m cluster=local"
GPU = "model=llama3_8b cluster=1xh100"
NODE = "model=llama3_8b cluster=8xh100"
