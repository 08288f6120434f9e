"""Rules between data, method and model."""

import os
from collections.abc import Iterator
from pathlib import Path

from conf.schema.rules.registry import Finding, rule
from conf.schema.run import RunConfig


@rule("data-path", reads=("data.source", "data.path", "data.eval_path"), reason="rows must be there to be read")
def data_path(config: RunConfig) -> Iterator[Finding]:
    data = config.data
    if data.source != "file":
        if data.path is not None:
            yield "data.path", f"data.path={data.path} has no effect with this data: add data=file"
        return
    if data.path is None:
        yield "data.path", "data=file needs the file of rows: add data.path=FILE (.jsonl or .json)"
        return
    for field in ("path", "eval_path"):
        value = getattr(data, field)
        if value is None:
            continue
        if not os.path.isfile(value):
            yield f"data.{field}", f"there is no file {value}: give the path of a .jsonl or .json file"
        elif not os.access(value, os.R_OK):
            yield f"data.{field}", f"{value} may not be read by you: see its permissions"
        elif Path(value).suffix not in (".jsonl", ".json"):
            yield f"data.{field}", f"{value} is neither .jsonl nor .json: these two formats are read"


@rule(
    "context-length",
    reads=("data.max_length", "model.architecture"),
    reason="positions beyond the trained context have no meaning to the model",
)
def context_length(config: RunConfig) -> Iterator[Finding]:
    shape = config.model.architecture
    if shape is not None and config.data.max_length > shape.max_position_embeddings:
        yield (
            "data.max_length",
            f"data.max_length={config.data.max_length} exceeds the {shape.max_position_embeddings} positions of "
            f"{config.model.name}: use data.max_length={shape.max_position_embeddings} or less",
        )


@rule("model-id", reads=("model.id", "model.source"), reason="weights must be named to be found")
def model_id(config: RunConfig) -> Iterator[Finding]:
    model = config.model
    if not model.id:
        yield "model.id", "no model is named: add model.id=OWNER/NAME (a hub id) or model.id=FOLDER"
    elif model.source == "folder" and not os.path.isdir(model.id):
        yield "model.id", f"there is no folder {model.id}: give a folder in Transformers layout, or model.source=auto"
    elif model.source == "folder" and not os.path.isfile(os.path.join(model.id, "config.json")):
        yield "model.id", f"the folder {model.id} has no config.json: give a folder in Transformers layout"
    elif model.source == "wheel" and model.wheel is None:
        yield "model.source", "model.source=wheel needs model.wheel.requirement and model.wheel.file"


@rule("epochs-or-steps", reads=("method.epochs", "method.max_steps"), reason="one of the two decides", warning=True)
def epochs_or_steps(config: RunConfig) -> Iterator[Finding]:
    method = config.method
    if method.epochs is not None and method.max_steps is not None:
        yield (
            "method.epochs",
            f"method.epochs={method.epochs} has no effect beside method.max_steps={method.max_steps}: give one of them",
        )
