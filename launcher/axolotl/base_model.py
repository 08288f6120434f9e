"""Keys of the base model: which weights, from where, with which rotary positions."""

from collections.abc import Mapping
from typing import Any

from launcher.axolotl.models import Weights, find
from launcher.axolotl.sheet import Sheet, is_off, shown

AUTO_CLASS = "the class follows from the model's own files"
SAME = {
    "model_type": AUTO_CLASS,
    "type_of_model": AUTO_CLASS,
    "cls_model_config": AUTO_CLASS,
    "is_falcon_derived_model": AUTO_CLASS,
    "is_llama_derived_model": AUTO_CLASS,
    "is_mistral_derived_model": AUTO_CLASS,
    "is_qwen_derived_model": AUTO_CLASS,
    "base_model_ignore_patterns": "only the files that are needed are fetched",
    "hf_use_auth_token": "the token is taken from the environment (HF_TOKEN) where the hub asks for one",
    "low_cpu_mem_usage": "weights are always loaded without a second copy in host memory",
    "device_map": "each worker has one device; parallel.strategy says what lies where",
    "device": "cluster= says which devices",
    "max_memory": "how weights are laid over devices is parallel.strategy's matter",
    "gpu_memory_limit": "the memory of a device is a fact of gpu=",
    "experimental_skip_move_to_device": "loading is the trainer's own matter",
    "lora_on_cpu": "loading is the trainer's own matter",
    "use_kernels": "the same mathematics by other kernels",
}
_ROPE_KINDS = ("linear", "dynamic", "yarn")
_INERT = (
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
    "tokenizer_class",
    "model_type",
    "use_cache",
    "output_router_logits",
    "_attn_implementation",
    "attn_implementation",
    "torch_dtype",
)
"""Keys of config.json that do not change what is trained."""


def take(sheet: Sheet) -> Weights | None:
    """Take the keys of the base model. The weights, None where the recipe names none."""
    for key, why in SAME.items():
        sheet.same(key, why)
    weights = _weights(sheet)
    base_config = sheet.text("base_model_config")
    if base_config is not None and weights is not None:
        _tokenizer_of(sheet, "base_model_config", base_config, weights)
    tokenizer = sheet.text("tokenizer_config")
    if tokenizer is not None and weights is not None:
        _tokenizer_of(sheet, "tokenizer_config", tokenizer, weights)
    for key in ("revision_of_model", "model_revision"):
        revision = sheet.text(key)
        if revision is not None:
            sheet.put(key, "model.revision", revision)
    code = sheet.flag("trust_remote_code")
    if code is not None:
        sheet.put("trust_remote_code", "model.trust_remote_code", code)
    for key in ("overrides_of_model_config", "model_config"):
        _overrides(sheet, key)
    _rope(sheet, "rope_scaling", sheet.raw("rope_scaling"))
    theta = sheet.number("rope_theta", 1)
    if theta is not None:
        sheet.put("rope_theta", "model.rope.theta", theta)
    for key in ("overrides_of_model_kwargs", "model_kwargs"):
        _arguments(sheet, key)
    return weights


def _weights(sheet: Sheet) -> Weights | None:
    name = sheet.text("base_model")
    if name is None:
        if sheet.places.get("base_model") is None and not sheet.known("base_model"):
            sheet.places.setdefault("base_model", None)
            sheet.refuse("base_model", "base_model is not given: Axolotl needs it, as `base_model: OWNER/NAME`")
        sheet.choices["model"] = "hf"
        return None
    weights = find(name)
    if weights.is_other_format:
        sheet.refuse(
            "base_model", f"{name} names weights in a compressed format: name the repository of the original weights"
        )
        sheet.choices["model"] = "hf"
        return None
    entry = weights.entry
    sheet.choices["model"] = entry.name if entry else "hf"
    sheet.set("model.id", weights.id)
    if entry is not None and entry.id != weights.id:
        sheet.set("model.source", "hub")
        sheet.set("model.wheel", None)
        if weights.is_mirror:
            sheet.set("model.gated", False)
    where = f"model={entry.name}, model.id" if entry else "model=hf, model.id"
    why = (
        f"the original of the 4-bit copy {weights.quantised}; it is quantised when loaded" if weights.quantised else ""
    )
    sheet.mapped("base_model", where, why)
    return weights


def _tokenizer_of(sheet: Sheet, key: str, name: str, weights: Weights) -> None:
    if name in (weights.id, weights.quantised):
        sheet.same(key, "the same as base_model")
    else:
        why = "config.json is that of base_model itself" if key == "base_model_config" else ""
        sheet.put(key, "model.tokenizer", name, why)


def _overrides(sheet: Sheet, key: str) -> None:
    for place in sheet.within(key):
        name, value = place.rpartition(".")[2], sheet.raw(place)
        if name in ("rope_scaling", "rope_parameters"):
            _rope(sheet, place, value)
        elif name == "rope_theta":
            theta = sheet.number(place, 1)
            if theta is not None:
                sheet.put(place, "model.rope.theta", theta)
        elif name in _INERT or value is None:
            sheet.same(place, "this does not change what is trained")
        elif name == "max_position_embeddings" and "model.rope.type" not in sheet.fields:
            sheet.same(place, "positions are computed, not looked up: the context follows from data.max_length")
        elif name == "max_position_embeddings":
            sheet.same(place, "it follows from model.rope.factor")
        else:
            sheet.refuse(place, f"{name} of the model's own config.json cannot be overridden here")


def _rope(sheet: Sheet, place: str, value: Any) -> None:
    """rope_scaling as the recipe's mapping; transformers' `type` and `rope_type` mean the same."""
    if value is None:
        return
    if not isinstance(value, Mapping):
        sheet.refuse(place, f"{shown(value)} must be a mapping, as `type: linear` and `factor: 2.0`")
        return
    kind = value.get("rope_type") or value.get("type")
    factor = sheet.number(f"{place}.factor", 1)
    if kind in ("default", None) and factor is None:
        sheet.same(place, "no stretching")
        return
    if kind not in _ROPE_KINDS:
        sheet.refuse(place, f"stretching of kind {shown(kind)} cannot be set: there is {', '.join(_ROPE_KINDS)}")
        return
    if factor is None or factor == 1:
        sheet.refuse(place, "rope_scaling needs a factor above 1, as `factor: 2.0`")
        return
    sheet.set("model.rope.type", kind)
    sheet.set("model.rope.factor", factor)
    for inner in sheet.within(place):
        name = inner.rpartition(".")[2]
        if name in ("type", "rope_type"):
            sheet.mapped(inner, "model.rope.type")
        elif name == "factor":
            sheet.mapped(inner, "model.rope.factor")
        elif name == "rope_theta":
            theta = sheet.number(inner, 1)
            if theta is not None:
                sheet.put(inner, "model.rope.theta", theta)
        elif name == "original_max_position_embeddings":
            sheet.same(inner, "the model's own context is taken")
        else:
            sheet.refuse(inner, f"{name} of rope_scaling cannot be set here")


def _arguments(sheet: Sheet, key: str) -> None:
    """Arguments of from_pretrained."""
    for place in sheet.within(key):
        name = place.rpartition(".")[2]
        if is_off(sheet.places[place]) or name in (
            "use_cache",
            "torch_dtype",
            "dtype",
            "low_cpu_mem_usage",
            "use_safetensors",
        ):
            sheet.same(place, "this does not change what is trained")
        elif name == "revision":
            sheet.put(place, "model.revision", sheet.text(place))
        elif name == "trust_remote_code":
            sheet.put(place, "model.trust_remote_code", bool(sheet.flag(place)))
        else:
            sheet.refuse(place, f"{name} cannot be passed to the model's loading here")
