"""Keys of what is trained: adapter, quantisation, targets, or a part of the weights themselves."""

import re

from launcher.axolotl import targets
from launcher.axolotl.models import Weights
from launcher.axolotl.sheet import Sheet, is_off, shown
from launcher.options import options

SAME = {
    "gptq": "the weights are none of GPTQ's, for which alone it stands",
    "gptq_groupsize": "the weights are none of GPTQ's",
    "gptq_model_v1": "the weights are none of GPTQ's",
    "gptq_disable_exllama": "the weights are none of GPTQ's",
    "lora_fan_in_fan_out": "PEFT sets it as each layer needs, whatever is written",
    "lora_out_dir": "the adapter is written into the run folder",
    "merge_lora": "merging is a step of its own after training",
    "merge_method": "merging is a step of its own after training",
    "qlora_sharded_model_loading": "weights are loaded as the layout needs",
    "peft_autocast_adapter_dtype": "adapters are always kept in fp32",
    "bnb_4bit_compute_dtype": "precision.compute says it",
    "bnb_4bit_quant_storage": "the layout decides how quantised weights are stored; their values are the same",
    "loraplus_lr_embedding": "it holds for adapters of embeddings alone, which are not made",
    "peft_layers_pattern": "the decoder layers are found by themselves",
    "ple_cpu_offload": "memory alone",
}
REFUSED = {
    "lora_model_dir": "training does not go on from an adapter: merge it into the weights and name those as base_model",
    "lora_rank_pattern": "all targets have one rank, adapter.r",
    "lora_alpha_pattern": "all targets have one alpha, adapter.alpha",
    "lora_exclude_modules": "name the targets in lora_target_modules instead",
    "peft_layer_replication": "layers are not repeated",
    "peft_trainable_token_indices": (
        "single rows of the embedding are not trained; lora_modules_to_save trains all of it"
    ),
    "peft_ensure_weight_tying": "adapters of tied weights are not tied",
    "relora": "ReLoRA restarts the adapter during training, which there is not",
    "relora_steps": "ReLoRA restarts the adapter during training, which there is not",
    "relora_warmup_steps": "ReLoRA restarts the adapter during training, which there is not",
    "relora_anneal_steps": "ReLoRA restarts the adapter during training, which there is not",
    "lisa_n_layers": "LISA trains other layers at each turn, which there is not",
    "lisa_step_interval": "LISA trains other layers at each turn, which there is not",
    "model_quantization_config": "training does not start from weights in this format",
    "use_onebitllms": "training in 1.58 bits there is not",
    "use_mora": "MoRA there is not",
    "mora": "MoRA there is not",
}
"""Keys of trainings that there are not. Where they are switched off they are no matter."""
DEAD = {
    "relora_cpu_offload": "of ReLoRA alone",
    "relora_prune_ratio": "of ReLoRA alone",
    "relora_prune_method": "of ReLoRA alone",
    "lisa_layers_attribute": "of LISA alone",
    "model_quantization_config_kwargs": "of model_quantization_config alone",
}
_INITS = {
    "gaussian": "gaussian",
    "orthogonal": "orthogonal",
    "pissa": "pissa",
    "olora": "olora",
    "loftq": "loftq",
    "true": "default",
    "True": "default",
}
_LORA_KEYS = (
    "lora_r",
    "lora_alpha",
    "lora_dropout",
    "lora_target_modules",
    "lora_target_linear",
    "lora_modules_to_save",
)


def take(sheet: Sheet, weights: Weights | None) -> str:
    """Take the keys of the adapter. The adapter's kind: lora, freeze or full."""
    for key, why in (SAME | DEAD).items():
        sheet.same(key, why)
    without = is_off(sheet.places.get("adapter"))
    for key, why in REFUSED.items():
        if is_off(sheet.places.get(key)):
            sheet.same(key, "switched off")
        elif without and key.startswith(("lora_", "peft_")):
            sheet.same(key, "without an adapter it has no effect")
        else:
            sheet.refuse(key, why)
    name = (sheet.text("adapter") or "").lower()
    if name in ("lora", "qlora"):
        _lora(sheet, name, weights)
        _choose(sheet)
        sheet.mapped("adapter", "adapter.kind, adapter.bits")
        if sheet.raw("unfrozen_parameters") is not None:
            sheet.same("unfrozen_parameters", "with an adapter the weights themselves stay frozen in any case")
        return "lora"
    if name:
        sheet.refuse("adapter", f"there is no adapter {name}; Axolotl's own are lora and qlora")
    return _weights_themselves(sheet)


def _weights_themselves(sheet: Sheet) -> str:
    for key in ("load_in_8bit", "load_in_4bit"):
        if sheet.flag(key):
            sheet.refuse(key, "quantised weights cannot be trained without an adapter: Axolotl refuses it too")
        else:
            sheet.same(key, "weights are not quantised")
    for key in [*_LORA_KEYS, *(key for key in sheet.places if re.match(r"(lora|peft|loraplus|bnb)_\w+$", key))]:
        if not sheet.known(key):
            sheet.same(key, "without an adapter it has no effect")
    for key in ("peft", "bnb_config_kwargs", "use_dora", "use_rslora", "quantize_moe_experts"):
        sheet.same(key, "without an adapter it has no effect")
    patterns = sheet.words("unfrozen_parameters")
    kind = "freeze" if patterns else "full"
    if patterns:
        ranged = [pattern for pattern in patterns if re.search(r"\[[0-9]*:?[0-9]*\]$", pattern)]
        if ranged:
            sheet.refuse(
                "unfrozen_parameters", f"{ranged[0]}: parts of a parameter cannot be trained alone; name it whole"
            )
        else:
            # Axolotl takes a dot for a dot, but for `.+`; an escaped one stays so. Mixtral's experts lay in
            # block_sparse_moe before transformers 5.
            sheet.put(
                "unfrozen_parameters",
                "adapter.unfrozen",
                [
                    re.sub(r"(?<!\\)\.(?![+*])", r"\\.", pattern).replace("block_sparse_moe", "mlp")
                    for pattern in patterns
                ],
            )
    sheet.choices["adapter"] = kind if kind in options("adapter") else "full"
    sheet.set("adapter.name", kind)
    sheet.set("adapter.kind", kind)
    sheet.set("adapter.bits", None)
    sheet.same("adapter", "no adapter: adapter.kind is " + kind)
    return kind


def _lora(sheet: Sheet, name: str, weights: Weights | None) -> None:
    sheet.set("adapter.kind", "lora")
    for key, field in (("lora_r", "adapter.r"), ("lora_alpha", "adapter.alpha")):
        value = sheet.whole(key, 1) if key == "lora_r" else sheet.number(key)
        if value is not None and value > 0:
            sheet.put(key, field, value)
        elif sheet.raw(key) is None or value is not None:
            sheet.refuse(key if key in sheet.places else "adapter", f"{key} must be above 0: Axolotl fails without it")
    sheet.set("adapter.dropout", 0.0)
    dropout = sheet.number("lora_dropout", 0)
    if dropout is not None:
        sheet.put("lora_dropout", "adapter.dropout", dropout)
    targets.take(sheet, weights)
    saved = sheet.words("lora_modules_to_save")
    sheet.set("adapter.modules_to_save", saved or [])
    if saved:
        sheet.mapped("lora_modules_to_save", "adapter.modules_to_save")
    layers = sheet.raw("peft_layers_to_transform")
    if layers is not None:
        numbers = layers if isinstance(layers, list) else [layers]
        if all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in numbers):
            sheet.put("peft_layers_to_transform", "adapter.layers", numbers)
        else:
            sheet.refuse("peft_layers_to_transform", "must be a list of layer numbers, counted from 0")
    for field, keys in (("dora", ("peft_use_dora", "use_dora")), ("rslora", ("peft_use_rslora", "use_rslora"))):
        sheet.set(f"adapter.{field}", False)
        for key in keys:
            if sheet.flag(key) is not None:
                sheet.set(f"adapter.{field}", bool(sheet.fields[f"adapter.{field}"] or sheet.flag(key)))
                sheet.mapped(key, f"adapter.{field}")
    ratio = sheet.number("loraplus_lr_ratio")
    if ratio is not None and ratio > 0:
        sheet.put("loraplus_lr_ratio", "adapter.loraplus_ratio", ratio)
    elif ratio is not None:
        sheet.same("loraplus_lr_ratio", "switched off")
    _first_values(sheet)
    _bits(sheet, name)
    if sheet.flag("quantize_moe_experts") is not None:
        why = "stacked experts rest in 16 bits here: the same training with more memory"
        sheet.mapped("quantize_moe_experts", "adapter.bits", why)


def _first_values(sheet: Sheet) -> None:
    sheet.set("adapter.init", "default")
    bits = sheet.whole("peft.loftq_config.loftq_bits", 1) or sheet.whole("loftq_bits", 1)
    if bits is not None or isinstance(sheet.raw("peft.loftq_config"), dict):
        where = "peft.loftq_config.loftq_bits" if "peft.loftq_config.loftq_bits" in sheet.places else "loftq_bits"
        if bits in (2, 4, 8, None):
            sheet.set("adapter.init", "loftq")
            sheet.put(where, "adapter.loftq_bits", bits or 4)
        else:
            sheet.refuse(where, f"LoftQ in {bits} bits there is not: 2, 4 or 8")
    for place in sheet.within("peft.loftq_config"):
        if place.endswith(".loftq_iter"):
            if sheet.whole(place) != 1:
                sheet.refuse(place, "one iteration is made")
            else:
                sheet.same(place, "one iteration is made")
    value = sheet.places.get("peft_init_lora_weights")
    if value is None:
        return
    word = str(value)
    if is_off(value):
        sheet.same("peft_init_lora_weights", "Axolotl passes it on only where it is on")
    elif word in _INITS:
        sheet.put("peft_init_lora_weights", "adapter.init", _INITS[word])
    elif word.startswith("pissa_niter_"):
        sheet.put("peft_init_lora_weights", "adapter.init", "pissa", "by an exact decomposition in place of a fast one")
    else:
        sheet.refuse(
            "peft_init_lora_weights", f"first values by {shown(value)} there are not: {', '.join(sorted(_INITS)[2:])}"
        )


def _bits(sheet: Sheet, name: str) -> None:
    eight, four = sheet.flag("load_in_8bit"), sheet.flag("load_in_4bit")
    bits = 4 if four else 8 if eight else None
    if name == "qlora" and bits != 4:
        sheet.refuse("adapter", "qlora needs load_in_4bit: true: Axolotl refuses it too")
    if four and eight:
        sheet.refuse("load_in_8bit", "load_in_8bit and load_in_4bit exclude each other: keep one")
    sheet.set("adapter.bits", bits)
    for key, value in (("load_in_8bit", eight), ("load_in_4bit", four)):
        if value is not None:
            sheet.mapped(key, "adapter.bits")
    sheet.set("adapter.quant_type", "nf4")
    sheet.set("adapter.double_quant", True)
    if bits == 4 and name == "lora":
        # No configuration is made for `adapter: lora`, so what transformers takes by itself holds.
        sheet.set("adapter.quant_type", "fp4")
        sheet.set("adapter.double_quant", False)
        why = "with adapter: lora transformers' own 4-bit form holds, FP4 without double quantisation; qlora takes NF4"
        sheet.mapped("load_in_4bit", "adapter.bits, adapter.quant_type, adapter.double_quant", why)
    for prefix in ("", "bnb_config_kwargs."):
        kind = sheet.text(f"{prefix}bnb_4bit_quant_type")
        if kind in ("nf4", "fp4"):
            sheet.put(f"{prefix}bnb_4bit_quant_type", "adapter.quant_type", kind)
        elif kind is not None:
            sheet.refuse(f"{prefix}bnb_4bit_quant_type", f"{kind} there is not: nf4 or fp4")
        double = sheet.flag(f"{prefix}bnb_4bit_use_double_quant")
        if double is not None:
            sheet.put(f"{prefix}bnb_4bit_use_double_quant", "adapter.double_quant", double)
    for place in sheet.within("bnb_config_kwargs"):
        option = place.rpartition(".")[2]
        if sheet.known(place):
            continue
        if option in ("load_in_4bit", "load_in_8bit", "bnb_4bit_compute_dtype", "bnb_4bit_quant_storage"):
            sheet.same(place, SAME.get(option, "adapter.bits says it"))
        elif option in ("llm_int8_has_fp16_weight", "llm_int8_threshold", "llm_int8_enable_fp32_cpu_offload"):
            sheet.same(place, "of bitsandbytes' inference alone, or its default")
        else:
            sheet.refuse(place, f"{option} cannot be passed to bitsandbytes here")


def _choose(sheet: Sheet) -> None:
    """The option of group adapter that says most of it; every field is set all the same."""
    four = sheet.fields.get("adapter.bits") == 4
    wanted = (
        ("qdora" if four else "dora") if sheet.fields.get("adapter.dora") else
        "loftq" if sheet.fields.get("adapter.init") == "loftq" else
        "pissa" if sheet.fields.get("adapter.init") == "pissa" else
        "olora" if sheet.fields.get("adapter.init") == "olora" else
        "qlora" if four else
        "rslora" if sheet.fields.get("adapter.rslora") else
        "lora_plus" if sheet.fields.get("adapter.loraplus_ratio") else "lora"
    )  # fmt: skip
    sheet.choices["adapter"] = wanted if wanted in options("adapter") else "lora"
    sheet.set("adapter.name", wanted)
