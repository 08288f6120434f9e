"""Rotary positions other than the model's own, for contexts longer than those it was trained on."""

from pathlib import Path
from typing import Any

from conf.schema.model import ModelConfig, RopeOverride
from trainer.failure import WorkerError


def configuration(path: Path, model: ModelConfig) -> Any | None:
    """transformers' configuration of a model's folder with model.rope in it; None where it is to be used as it is.

    Raises WorkerError for a model without rotary positions."""
    if model.rope == RopeOverride():
        return None
    from transformers import AutoConfig

    found = AutoConfig.from_pretrained(str(path), trust_remote_code=model.trust_remote_code, local_files_only=True)
    override(found, model.rope)
    return found


def override(found: Any, rope: RopeOverride) -> None:
    """Change a transformers configuration in place.

    Where layers differ, those that see the whole context change. yarn counts from the model's context as it is, and so
    does linear; both raise it to that times the factor. dynamic leaves it, since transformers stretches beyond it as
    sequences get longer."""
    known = getattr(found, "rope_parameters", None)
    if not known:
        raise WorkerError(f"model.rope: a {found.model_type} model has no rotary positions to change; leave it out")
    mine = known.get("full_attention", known)
    if rope.theta is not None:
        mine["rope_theta"] = rope.theta
    if rope.type is None:
        return
    context = found.max_position_embeddings
    kept = {name: mine[name] for name in ("rope_theta", "partial_rotary_factor") if name in mine}
    mine.clear()
    mine.update(kept | {"rope_type": rope.type, "factor": rope.factor})
    if rope.type == "yarn":
        mine["original_max_position_embeddings"] = context
        if hasattr(found, "original_max_position_embeddings"):
            # transformers prefers this one where a family (Phi-3) has it.
            found.original_max_position_embeddings = context
    if rope.type in ("linear", "yarn"):
        assert rope.factor is not None
        found.max_position_embeddings = int(context * rope.factor)
