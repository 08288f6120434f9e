"""A run's identity: the fields that decide its result, and their digest."""

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic import BaseModel

from conf.schema.run import RunConfig


def identity(config: RunConfig) -> dict[str, Any]:
    """Identity fields that differ from their defaults, as dotted path -> value.

    Leaving defaults out keeps the digest of old runs when a later version adds a field."""
    found: dict[str, Any] = {}
    _collect(config, _defaults(type(config)), "", found)
    return dict(sorted(found.items()))


@cache
def _defaults(group: type[BaseModel]) -> BaseModel:
    return group()


def identity_digest(config: RunConfig) -> str:
    """sha256 of the canonical JSON of the identity, in hex."""
    return digest_of(identity(config))


def digest_of(found: dict[str, Any]) -> str:
    """sha256 of the canonical JSON of an identity, in hex."""
    text = json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def run_id(config: RunConfig, digest: str | None = None) -> str:
    """Name of the run folder: `name`, or `<model>-<adapter>-<data>-<method>-<8 digits of the identity's digest>`, which
    may be given where it is known."""
    if config.name:
        return config.name
    parts = (config.model.name, config.adapter.name, config.data.name, config.method.name)
    return "-".join((*parts, (digest or identity_digest(config))[:8]))


def identity_fields(group: type[BaseModel] = RunConfig, prefix: str = "") -> Iterator[str]:
    """Dotted paths of the fields that decide the result; an optional group within is one field."""
    for field, info in group.model_fields.items():
        if is_identity(group, field):
            path = prefix + (info.alias or field)
            if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
                yield from identity_fields(info.annotation, path + ".")
            else:
                yield path


@cache
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
            found[path] = _plain(mine)


def _plain(value: Any) -> Any:
    """A value as JSON has it; of each group in a list the identity fields alone."""
    if isinstance(value, list) and any(isinstance(item, BaseModel) for item in value):
        return [identity_of(item) for item in value]
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def identity_of(group: BaseModel) -> dict[str, Any]:
    """Identity fields of one group that differ from their defaults."""
    found: dict[str, Any] = {}
    _collect(group, type(group)(), "", found)
    return dict(sorted(found.items()))
