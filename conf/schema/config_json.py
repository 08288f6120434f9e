"""Shape facts of a model folder: Transformers' config.json, read without Transformers."""

import json
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from conf.schema.model import Architecture, Family, RopeScaling

_FAMILIES: tuple[str, ...] = get_args(Family)
_DEFAULTS: dict[str, dict[str, Any]] = {
    "gemma": {"tie_word_embeddings": True, "head_dim": 256},
    "gemma2": {"tie_word_embeddings": True, "head_dim": 256, "sliding_window": 4096, "attn_logit_softcapping": 50.0},
    "gemma3_text": {
        "tie_word_embeddings": True,
        "head_dim": 256,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "vocab_size": 262208,
        "max_position_embeddings": 131072,
        "sliding_window": 4096,
        "rope_theta": 1000000.0,
    },
    "starcoder2": {"tie_word_embeddings": True},
    "qwen3": {"head_dim": 128},
    "deepseek_v3": {"first_k_dense_replace": 3},
}
"""Values that a config.json leaves out because the class has them as its defaults."""


def architecture_from(path: Path) -> Architecture | None:
    """Shape facts from a config.json; None where it is missing, says too little, or is of a family not known here."""
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        raw = raw.get("text_config", raw)
        family = raw["model_type"]
        if family not in _FAMILIES:
            return None
        raw = _DEFAULTS.get(family, {}) | raw
        return Architecture(**(_shape(raw) | _experts(raw) | _latent(raw) | _positions(raw))) if _usual(raw) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError):
        return None


def _usual(raw: dict[str, Any]) -> bool:
    """Whether no switch is set that adds or drops tensors beyond what an Architecture can say."""
    biased = raw.get("use_bias", True) and raw.get("qkv_bias", True)
    sparse = not raw.get("mlp_only_layers") and raw.get("decoder_sparse_step", 1) == 1
    return bool(biased and sparse and not raw.get("qk_layernorm"))


def _shape(raw: dict[str, Any]) -> dict[str, Any]:
    heads = raw["num_attention_heads"]
    return {
        "family": raw["model_type"],
        "hidden_size": raw["hidden_size"],
        "intermediate_size": raw["intermediate_size"],
        "num_hidden_layers": raw["num_hidden_layers"],
        "num_attention_heads": heads,
        "num_key_value_heads": raw.get("num_key_value_heads") or heads,
        "head_dim": raw.get("head_dim") or raw["hidden_size"] // heads,
        "vocab_size": raw["vocab_size"],
        "max_position_embeddings": raw["max_position_embeddings"],
        "tie_word_embeddings": bool(raw.get("tie_word_embeddings", False)),
        "attention_bias": bool(raw.get("attention_bias", False)),
        "mlp_bias": bool(raw.get("mlp_bias", False)),
        "lm_head_bias": bool(raw.get("lm_head_bias", False)),
    }


def _experts(raw: dict[str, Any]) -> dict[str, Any]:
    experts = raw.get("num_local_experts") or raw.get("n_routed_experts") or raw.get("num_experts")
    if not experts:
        return {}
    inner = raw.get("moe_intermediate_size")
    shared = raw.get("shared_expert_intermediate_size")
    if raw.get("n_shared_experts"):
        shared = raw["n_shared_experts"] * inner
    return {
        "num_experts": experts,
        "num_experts_per_tok": raw["num_experts_per_tok"],
        "moe_intermediate_size": inner,
        "shared_expert_intermediate_size": shared or None,
        "first_k_dense_replace": raw.get("first_k_dense_replace") or 0,
    }


def _latent(raw: dict[str, Any]) -> dict[str, Any]:
    if raw.get("kv_lora_rank") is None:
        return {}
    names = ("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
    return {name: raw[name] for name in names} | {"head_dim": raw["qk_nope_head_dim"] + raw["qk_rope_head_dim"]}


def _positions(raw: dict[str, Any]) -> dict[str, Any]:
    """Context facts, from Transformers 5's rope_parameters or the older rope_theta and rope_scaling."""
    rope = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    rope = rope.get("full_attention") or rope
    kind = rope.get("rope_type") or rope.get("type") or "default"
    kind = "longrope" if kind == "su" else kind
    factor, original = rope.get("factor"), rope.get("original_max_position_embeddings")
    scaling = None
    if kind != "default":
        scaling = RopeScaling(
            rope_type=kind,
            factor=None if factor is None else float(factor),
            original_max_position_embeddings=original or raw.get("original_max_position_embeddings"),
        )
    window = raw.get("sliding_window") if raw.get("use_sliding_window", True) else None
    return {
        "sliding_window": window or None,
        "attn_logit_softcapping": raw.get("attn_logit_softcapping"),
        "rope_theta": float(rope.get("rope_theta") or raw.get("rope_theta") or 10000.0),
        "rope_scaling": scaling,
    }
