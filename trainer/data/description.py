"""What prepared data depends on: a JSON object, the same for runs that can share it."""

from typing import Any

from conf.schema.data import DataConfig
from conf.schema.identity import identity_of
from conf.schema.rows import held_out_sets
from conf.schema.run import RunConfig
from conf.schema.templates import UnknownName, prompt_style, template_text
from trainer.data.tokenizer import own_template, tokenizer_digest
from trainer.errors import PreparationError

FORMAT = 2
"""Version of what prepared.py writes; a new one prepares again."""


def description(config: RunConfig, rows: str | None, tokenizer_folder: str) -> dict[str, Any]:
    """Everything that prepared data depends on; `rows` is the digest of their source."""
    data = config.data
    found: dict[str, Any] = {
        "format": FORMAT,
        "rows": rows,
        "how": _how(data),
        "tokenizer": tokenizer_digest(tokenizer_folder),
        "tokens": [config.model.special_tokens, config.model.added_tokens],
        "template": own_template(config.model),
        "objective": config.method.objective,
    }
    if data.source != "python_docs" and not held_out_sets(data):
        found["split"] = config.seed if data.eval_fraction or data.eval_rows else None
    if data.streaming:
        found["sequences"] = sequences_needed(config)
    return found


def sequences_needed(config: RunConfig) -> int | None:
    """Sequences that a streamed run takes; None where that is not known, so that all rows are read."""
    if not config.data.streaming or config.method.max_steps is None or config.batch.global_ is None:
        return None
    return config.method.max_steps * config.batch.global_


def _how(data: DataConfig) -> dict[str, Any]:
    """The fields that decide how rows become tokens; shipped texts stand for their names."""
    found = identity_of(data)
    for name in ("digest", "order"):
        found.pop(name, None)
    for rows in (data, *data.sets, *data.eval_sets):
        if rows.chat_template not in (None, "tokenizer"):
            found.setdefault("templates", []).append(_text(rows.chat_template))
        if rows.prompt is not None:
            found.setdefault("prompts", []).append(_style(rows.prompt))
    return found


def _text(template: str | None) -> str:
    try:
        return template_text(template or "")
    except UnknownName as error:
        raise PreparationError(f"data.chat_template={template}: {error}") from error


def _style(prompt: str) -> str:
    try:
        return repr(prompt_style(prompt))
    except UnknownName as error:
        raise PreparationError(f"data.prompt={prompt}: {error}") from error
