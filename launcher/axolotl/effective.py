"""The values that decide the weights, in one flat record: what Axolotl would train with, on one worker."""

from typing import Any

from launcher.axolotl.models import entries
from launcher.axolotl.sheet import Sheet


def effective(sheet: Sheet) -> dict[str, Any]:
    """The values by plain names. None where the import failed to find one."""
    fields = sheet.fields
    micro, accumulation = fields.get("batch.micro"), fields.get("batch.accumulation")
    return {
        "model": fields.get("model.id"),
        "micro": micro,
        "accumulation": accumulation,
        "global_batch_per_worker": micro * accumulation if micro and accumulation else None,
        "learning_rate": fields.get("method.learning_rate"),
        "optimizer": fields.get("method.optimizer"),
        "weight_decay": fields.get("adapter.weight_decay"),
        "max_grad_norm": fields.get("method.max_grad_norm"),
        "schedule": fields.get("method.schedule"),
        "warmup": fields.get("method.warmup"),
        "epochs": fields.get("method.epochs"),
        "max_steps": fields.get("method.max_steps"),
        "adapter": fields.get("adapter.kind"),
        "r": fields.get("adapter.r"),
        "alpha": fields.get("adapter.alpha"),
        "dropout": fields.get("adapter.dropout"),
        "targets": targets(sheet),
        "modules_to_save": fields.get("adapter.modules_to_save", []),
        "bits": fields.get("adapter.bits"),
        "precision": fields.get("precision.compute"),
        "weights": fields.get("precision.weights"),
        "max_length": fields.get("data.max_length"),
        "overlong": fields.get("data.overlong"),
        "packing": fields.get("data.packing"),
        "learn": "all" if sheet.flag("train_on_inputs") else fields.get("data.learn"),
        "objective": fields.get("method.objective"),
        "loss": fields.get("method.loss"),
        "chat_template": fields.get("model.chat_template"),
        "seed": fields.get("seed"),
        "datasets": datasets(sheet),
        "eval_fraction": fields.get("data.eval_fraction"),
        "eval_rows": fields.get("data.eval_rows"),
    }


def targets(sheet: Sheet) -> list[str] | None:
    """Layers that get an adapter, by name where the catalogue knows them."""
    found: list[str] | None = sheet.fields.get("adapter.targets")
    entry = entries().get(sheet.choices.get("model", ""))
    if (
        found == ["all-linear"]
        and entry is not None
        and entry.targets
        and (entry.shape is None or entry.shape.num_experts is None)
    ):
        return list(entry.targets)
    return found


def datasets(sheet: Sheet) -> list[dict[str, Any]]:
    """The sets of training rows, each with its source, path and format."""
    sets = sheet.fields.get("data.sets")
    if sets:
        return [dict(rows) for rows in sets]
    return [
        {
            path.removeprefix("data."): value
            for path, value in sheet.fields.items()
            if path.startswith("data.") and path.removeprefix("data.") in _OF_A_SET
        }
    ]


_OF_A_SET = frozenset({
    "source", "path", "subset", "split", "revision", "files", "shards", "shard", "skip", "limit", "format", "prompt",
    "prompt_without_input", "system", "system_format", "field_text", "field_instruction", "field_input", "field_output",
    "field_system", "field_messages", "field_role", "field_content", "field_learn", "field_segments", "roles",
    "learn_roles", "learn_end", "drop_system", "chat_template",
})  # fmt: skip
