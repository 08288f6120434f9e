"""Group `data`: the rows, and how they become token sequences."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from conf.schema.base import SHORT_NAME, Group, operational


class DataConfig(Group):
    """What the model is trained on."""

    name: str = operational("python_docs", pattern=SHORT_NAME)
    """Short name, part of the run id: up to 40 letters, digits, dots, dashes and underscores."""
    source: Literal["python_docs", "file"] = "python_docs"
    """python_docs: questions answered by the standard library's docstrings. file: rows of data.path."""
    path: str | None = operational(None)
    """File of rows (.jsonl or .json): `messages`, `instruction`/`output`, or for pretraining `text`. Its digest, not
    its place, is part of the identity."""
    eval_path: str | None = operational(None)
    """File of held-out rows; None splits them off data.path."""
    eval_fraction: float = Field(0.05, ge=0.0, lt=1.0)
    """Share of data.path held out for evaluation where data.eval_path is None; 0 switches evaluation off."""
    digest: str | None = None
    """Derived: digest of the rows' source. Not for typing."""
    max_length: PositiveInt = 1024
    """Longest sequence in tokens; longer rows are cut at the end."""
    packing: bool = False
    """Put several rows into one sequence of max_length; attention stays within each row."""
    epochs: PositiveFloat = operational(1.0)
    """Passes over these rows that make sense where method.epochs is not given."""
