"""Which layers get an adapter: names, patterns, and `lora_target_linear`."""

import re

from conf.schema.model import Architecture
from conf.schema.sizes import matrices, targeted
from launcher.axolotl.models import Weights
from launcher.axolotl.sheet import Sheet, shown

_OUTER = ("embed_tokens", "lm_head", "wte")
_STACKED = ("mixtral", "qwen3_moe")
"""Families whose experts are bare parameters, with no linear layer of an expert's names beside them."""


def take(sheet: Sheet, weights: Weights | None) -> None:
    """Take the keys of the layers that get an adapter."""
    named = sheet.raw("lora_target_modules")
    names = _spelt_out(named) if isinstance(named, str) else sheet.words("lora_target_modules")
    if isinstance(named, str) and names is None:
        sheet.refuse("lora_target_modules", f"the pattern {shown(named)} cannot be spelt out: list the layers' names")
    linear = sheet.flag("lora_target_linear")
    shape = weights.entry.shape if weights is not None and weights.entry is not None else None
    targets, absent = _present(shape, list(dict.fromkeys(names or [])))
    if linear or targets == ["all-linear"]:
        why = "every linear layer but the output"
        extra = [name for name in targets if name != "all-linear"]
        outer = [name for name in extra if name.rpartition(".")[2] in _OUTER]
        if shape is not None and shape.family in _STACKED:
            # Axolotl counts the linear layers of the model; stacked experts are bare parameters and none of them.
            plain = [matrix.leaf for matrix in matrices(shape) if matrix.kind == "linear"]
            targets = list(dict.fromkeys([*plain, *extra]))
            why = "the linear layers of the model; its experts are stacked and no linear layers"
        elif outer and weights is not None and weights.entry is not None:
            targets = list(dict.fromkeys([*weights.entry.targets, *extra]))
        elif outer:
            sheet.refuse(
                "lora_target_modules", f"{', '.join(outer)} beside all linear layers: list every layer by name"
            )
        else:
            targets = ["all-linear"]
        sheet.mapped("lora_target_linear", "adapter.targets", why)
    elif linear is False:
        sheet.same("lora_target_linear", "switched off")
    if "lm_head" in targets:
        sheet.refuse(
            "lora_target_modules",
            "an adapter on lm_head cannot be trained, since TRL computes the loss past it: leave it out, or train the"
            " layer whole by lora_modules_to_save",
        )
    parameters = sheet.words("lora_target_parameters")
    if parameters:
        sheet.put("lora_target_parameters", "adapter.target_parameters", parameters)
    if targets:
        sheet.set("adapter.targets", targets)
        gone = f"the model has no layer {', '.join(absent)}: PEFT passes over such names" if absent else ""
        sheet.mapped("lora_target_modules", "adapter.targets", gone)
    elif parameters:
        sheet.set("adapter.targets", [])
    elif not sheet.known("lora_target_modules"):
        where = "lora_target_modules" if "lora_target_modules" in sheet.places else "adapter"
        sheet.refuse(where, "no layer is named by lora_target_modules or lora_target_linear: Axolotl fails without")


def _present(shape: Architecture | None, names: list[str]) -> tuple[list[str], list[str]]:
    """The names that a model has layers of, and the others, which PEFT passes over without a word."""
    if shape is None:
        return names, []
    leaves = {matrix.leaf for matrix in matrices(shape)} | {"all-linear"}
    found = [name for name in names if name.rpartition(".")[2] in leaves or _is_expert(shape, name)]
    return found, [name for name in names if name not in found]


def _is_expert(shape: Architecture, name: str) -> bool:
    try:
        return any(True for _ in targeted(shape, [name]))
    except ValueError:
        return True


def _spelt_out(pattern: str) -> list[str] | None:
    """The names of layers that a regular expression over whole paths means, where it ends in plain alternatives.

    PEFT matches a text against the whole path, so `...layers.[\\d]+.(mlp|self_attn).(up|down)_proj` names up_proj and
    down_proj. A pattern that is no more than a name matches nothing in PEFT; people mean the layers of that name."""
    if pattern in ("all-linear", "all_linear"):
        return ["all-linear"]
    if re.fullmatch(r"\w+", pattern):
        return [pattern]
    last = re.split(r"(?<!\\)\.(?![*+?])|\\\.", pattern)[-1].removesuffix("$")
    match = re.fullmatch(r"(\w*)\(?(?:\?:)?([\w|]+)\)?(\w*)", last)
    if match is None or ("|" not in last and not match[2]):
        return None
    return [match[1] + middle + match[3] for middle in match[2].split("|")]
