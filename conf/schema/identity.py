"""A run's identity: the fields that decide its result, and their digest."""

import hashlib
import json
from typing import Any

from pydantic import BaseModel

from conf.schema.run import RunConfig


def identity(config: RunConfig) -> dict[str, Any]:
    """Identity fields that differ from their defaults, as dotted path -> value.

    Leaving defaults out keeps the digest of old runs when a later version adds a field."""
    found: dict[str, Any] = {}
    _collect(config, type(config)(), "", found)
    return dict(sorted(found.items()))


def identity_digest(config: RunConfig) -> str:
    """sha256 of the canonical JSON of the identity, in hex."""
    text = json.dumps(identity(config), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def is_identity(model: type[BaseModel], field: str) -> bool:
    """Whether a field of a group decides the result."""
    extra = model.model_fields[field].json_schema_extra
    return not (isinstance(extra, dict) and extra.get("identity") is False)


def _collect(value: BaseModel, default: BaseModel, prefix: str, found: dict[str, Any]) -> None:
    for field, info in type(value).model_fields.items():
        if not is_identity(type(value), field):
            continue
        mine, theirs = getattr(value, field), getattr(default, field)
        path = prefix + (info.alias or field)
        if isinstance(mine, BaseModel) and isinstance(theirs, BaseModel):
            _collect(mine, theirs, path + ".", found)
        elif mine != theirs:
            found[path] = mine.model_dump(mode="json") if isinstance(mine, BaseModel) else mine
