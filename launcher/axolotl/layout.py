"""Keys of how a model is laid over devices: DeepSpeed's files and FSDP's settings, in place of each other."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher.axolotl.sheet import Sheet, is_off, shown

_OWN = "the layout's own matter: it changes no result"
SAME = {
    "ddp": "several devices are used where cluster= has them",
    "ddp_timeout": _OWN,
    "ddp_bucket_cap_mb": _OWN,
    "ddp_broadcast_buffers": _OWN,
    "ddp_find_unused_parameters": _OWN,
    "local_rank": "Slurm says it",
    "world_size": "cluster= says it",
    "deepcompile": _OWN,
    "fsdp_version": "there is FSDP2: the same layout, and the same numbers",
    "fsdp_final_state_dict_type": "the result is always written whole",
    "heads_k_stride": _OWN,
    "ring_attn_func": _OWN,
    "dp_shard_size": "parallel.strategy and cluster= say it",
    "dp_replicate_size": "parallel.strategy and cluster= say it",
    "use_ray": "cluster= says where a run trains",
    "ray_run_name": "cluster= says where a run trains",
    "ray_num_workers": "cluster= says where a run trains",
    "resources_per_worker": "cluster= says where a run trains",
    "nccl_timeout": _OWN,
}
DEGREES = ("sequence_parallel_degree", "context_parallel_size", "tensor_parallel_size", "expert_parallel_size")
_FSDP_SAME = (
    "fsdp_version", "version", "activation_checkpointing", "sync_module_states", "cpu_ram_efficient_loading",
    "cpu_offload_pin_memory", "use_orig_params", "state_dict_type", "final_state_dict_type", "auto_wrap_policy",
    "transformer_layer_cls_to_wrap", "min_num_params", "mixed_precision_policy", "backward_prefetch",
    "forward_prefetch", "limit_all_gathers", "offload_optimizer", "xla", "xla_fsdp_v2",
)  # fmt: skip
_AUTO = ("auto", None)


def take(sheet: Sheet) -> None:
    """Take the keys of the layout."""
    for key, why in SAME.items():
        sheet.same(key, why)
    for key in DEGREES:
        degree = sheet.whole(key)
        if degree is not None and degree > 1:
            sheet.refuse(key, "one sequence is not split over devices: with fsdp or zero3 the model is")
        else:
            sheet.same(key, "each device has whole sequences")
    sharded = sheet.raw("fsdp") is not None or sheet.raw("fsdp_config") is not None
    if is_off(sheet.places.get("deepspeed")):
        sheet.same("deepspeed", "switched off")
    else:
        _deepspeed(sheet)
        if sharded:
            sheet.refuse(
                "fsdp" if sheet.raw("fsdp") is not None else "fsdp_config", "deepspeed and fsdp exclude each other"
            )
        sharded = False
    if sharded:
        _fsdp(sheet)


def _choose(sheet: Sheet, strategy: str, offload: str = "none") -> None:
    sheet.set("parallel.strategy", strategy)
    sheet.set("parallel.offload", offload)
    sheet.devices = 8


# -- DeepSpeed ---------------------------------------------------------------------------------------------------------


def _deepspeed(sheet: Sheet) -> None:
    told = sheet.raw("deepspeed")
    if isinstance(told, Mapping):
        _from_config(sheet, told, "")
        return
    if not isinstance(told, str):
        sheet.refuse("deepspeed", f"{shown(told)} must be the path of a DeepSpeed configuration, or a mapping")
        return
    for folder in (Path.cwd(), sheet.source.folder):
        file = folder / told
        if file.is_file():
            try:
                config = json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                sheet.refuse("deepspeed", f"{told} cannot be read as JSON: {error}")
                return
            if isinstance(config, dict):
                _from_config(sheet, config, f"as {told} says")
                return
            sheet.refuse("deepspeed", f"{told} holds no mapping")
            return
    _by_name(sheet, told)


def _by_name(sheet: Sheet, path: str) -> None:
    """Axolotl's own files say what they are in their names, as deepspeed_configs/zero3_bf16_cpuoffload_all.json."""
    name = re.split(r"[/\\]", path)[-1].lower()
    stage = re.search(r"(?:zero|stage|z)[-_]?([0123])", name)
    if stage is None:
        sheet.decide(
            "deepspeed", f"{path} is not here: choose a layout by parallel=zero1, zero2 or zero3; it changes no result"
        )
        return
    offloads = re.search(r"offload", name)
    _stage(sheet, int(stage[1]), bool(offloads), bool(offloads) and "opt" not in name, "as the file's name says")


def _from_config(sheet: Sheet, config: Mapping[str, Any], why: str) -> None:
    zero = config.get("zero_optimization")
    zero = zero if isinstance(zero, Mapping) else {}
    stage = zero.get("stage", 0)
    if stage not in (0, 1, 2, 3):
        sheet.refuse("deepspeed", f"zero_optimization.stage {shown(stage)} must be 0, 1, 2 or 3")
        return
    optimizer = bool(zero.get("cpu_offload")) or _to_host(zero.get("offload_optimizer"))
    parameters = bool(zero.get("cpu_offload_params")) or _to_host(zero.get("offload_param"))
    for part in ("optimizer", "scheduler"):
        given = config.get(part)
        parameters_of = given.get("params", {}) if isinstance(given, Mapping) else {}
        if isinstance(parameters_of, Mapping) and any(value not in _AUTO for value in parameters_of.values()):
            sheet.refuse(
                "deepspeed",
                f"its {part} stands above the recipe's own: take it out, and say it by {part} keys of the recipe",
            )
            return
    _stage(sheet, stage, optimizer, parameters, why)


def _to_host(told: Any) -> bool:
    return isinstance(told, Mapping) and str(told.get("device", "none")) in ("cpu", "nvme")


def _stage(sheet: Sheet, stage: int, optimizer: bool, parameters: bool, why: str) -> None:
    if stage == 0:
        _choose(sheet, "ddp")
    else:
        offload = "parameters" if parameters and stage == 3 else "optimizer" if optimizer or parameters else "none"
        _choose(sheet, f"zero{stage}", offload)
    sheet.mapped("deepspeed", "parallel.strategy, parallel.offload", why)


# -- FSDP --------------------------------------------------------------------------------------------------------------


def _fsdp(sheet: Sheet) -> None:
    told = sheet.raw("fsdp")
    words: list[str] = []
    if told is not None and told is not True:
        given = told if isinstance(told, list) else [told]
        words = [word for part in given for word in str(part).replace(",", " ").split()]
    if any(word in ("false", "False", "no", "off") for word in words):
        sheet.same("fsdp", "switched off")
        return
    config = {place.rpartition(".")[2].removeprefix("fsdp_"): place for place in sheet.within("fsdp_config")}
    strategy, reshard = "fsdp2", True
    kind = config.get("sharding_strategy")
    names = [word.lower() for word in words] + [str(sheet.places[kind]).lower() if kind else ""]
    if any(name in ("shard_grad_op", "hybrid_shard_zero2", "2", "5", "_hybrid_shard_zero2") for name in names):
        reshard = False
    if any(name in ("no_shard", "3") for name in names):
        strategy = "ddp"
    offload = "parameters" if "offload" in words else "none"
    if (place := config.get("offload_params")) is not None and sheet.flag(place):
        offload = "parameters"
    place = config.get("reshard_after_forward")
    value = sheet.raw(place) if place is not None else None
    if value is not None:
        reshard = value is not False and str(value).lower() not in ("false", "shard_grad_op")
    _choose(sheet, strategy, offload if strategy == "fsdp2" else "none")
    if strategy == "fsdp2":
        sheet.set("parallel.reshard", reshard)
    sheet.mapped("fsdp", "parallel.strategy, parallel.reshard, parallel.offload")
    for name, place in config.items():
        if name == "offload_params":
            sheet.mapped(place, "parallel.offload")
        elif name in ("sharding_strategy", "reshard_after_forward"):
            sheet.mapped(place, "parallel.strategy, parallel.reshard")
        elif name in _FSDP_SAME:
            sheet.same(place, _OWN)
        elif is_off(sheet.places[place]):
            sheet.same(place, "switched off")
    if not any(sheet.known(place) for place in config.values()):
        sheet.mapped("fsdp_config", "parallel.strategy")
