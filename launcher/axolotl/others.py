"""Keys of methods that are to come, of other plugins, and of what plays no part in a training."""

import re

from launcher.axolotl.sheet import Sheet, is_off, shown

_METHOD = "preference and reward methods are to come"
_IMAGES = "models of images and sound are to come"
SAME = {
    "strict": "every key is judged in any case",
    "debug": "it shows more, and changes nothing",
    "inference": "of inference alone",
    "trl": "of preference methods alone",
    "vllm": "of preference methods alone",
    "dpo_label_smoothing": "of preference methods alone",
    "cloud": "cluster= and site= say where a run trains",
    "axolotl_config_path": "of Axolotl alone",
    "prompt_mode": "of inference alone",
    "image_resize_algorithm": "of images alone",
    "num_labels": "of reward models alone",
    "center_rewards_coefficient": "of reward models alone",
    "telemetry": "nothing is sent anywhere",
}
YET = {
    "rl": _METHOD,
    "reward_model": _METHOD,
    "process_reward_model": _METHOD,
    "ebft": _METHOD,
    "processor_type": _IMAGES,
    "processor_config": _IMAGES,
    "processor_kwargs": _IMAGES,
    "is_multimodal": _IMAGES,
    "image_size": _IMAGES,
    "role_boundaries": _IMAGES,
    "diffusion": "diffusion language models are to come",
    "kd_alpha": "distillation is to come",
}
_METHOD_KEY = re.compile(
    r"(dpo|kto|orpo|simpo|cpo|grpo|rl|rpo|gdpo|precompute_ref|beta|label_smoothing|max_completion_length|num_generations|"
    r"reward|vllm|trl|ebft)(_\w+)?$"
)
"""Keys of preference methods: without `rl` they are dead, with it `rl` says it."""
_KD_KEY = re.compile(r"kd_\w+$")
_PLUGINS = {
    "liger.ligerplugin": "method.liger says it",
    "cut_cross_entropy.cutcrossentropyplugin": "the same loss with less memory",
    "kernels.kernelsplugin": "the same mathematics by other kernels",
    "lm_eval.lmevalplugin": "no benchmarks run within a training: evaluate the result",
    "swanlab.swanlabplugin": "there is no SwanLab: tracking=wandb, mlflow or tensorboard",
}
_WHY_NOT = {
    "spectrum": "Spectrum chooses layers by a table of its own: list them in unfrozen_parameters",
    "kd": "distillation is to come",
    "diffusion": "diffusion language models are to come",
    "grokfast": "gradients are not filtered (Grokfast)",
    "densemixer": "experts are not mixed densely",
    "llm_compressor": "sparse training there is not",
    "expert_parallel": "experts are not laid over devices one by one",
    "mora": "MoRA there is not",
}
_PLUGIN_KEYS = {
    "spectrum_top_fraction": "spectrum", "spectrum_model_name": "spectrum", "grokfast_alpha": "grokfast",
    "grokfast_lamb": "grokfast", "dense_mixer": "densemixer", "llmcompressor": "llm_compressor",
}  # fmt: skip


def take(sheet: Sheet) -> None:
    """Take the keys of what there is not."""
    for key, why in SAME.items():
        sheet.same(key, why)
    for key, why in YET.items():
        if is_off(sheet.places.get(key)):
            sheet.same(key, "switched off")
        else:
            named = f"{key}: {shown(sheet.places[key])}: " if key == "rl" else ""
            sheet.refuse(key, named + why, yet=True)
    for key in list(sheet.places):
        if sheet.known(key):
            continue
        if _METHOD_KEY.fullmatch(key):
            sheet.same(key, "of preference methods alone")
        elif _KD_KEY.fullmatch(key):
            if is_off(sheet.places[key]):
                sheet.same(key, "switched off")
            else:
                sheet.refuse(key, "distillation is to come", yet=True)
    _plugins(sheet)


def _plugins(sheet: Sheet) -> None:
    names = sheet.words("plugins") or []
    refused = []
    for name in names:
        tail = name.lower().split("integrations.")[-1]
        if tail in _PLUGINS:
            continue
        refused.append((name, _WHY_NOT.get(tail.split(".")[0], "what this plugin does is not known here")))
    if refused:
        yet = all(why.endswith("to come") for _, why in refused)
        sheet.refuse("plugins", "; ".join(f"{name}: {why}" for name, why in refused), yet=yet)
    elif names:
        sheet.same(
            "plugins", "; ".join(dict.fromkeys(_PLUGINS[name.lower().split("integrations.")[-1]] for name in names))
        )
    for key, plugin in _PLUGIN_KEYS.items():
        if sheet.raw(key) is not None and any(f"integrations.{plugin}" in name.lower() for name in names):
            sheet.refuse(key, _WHY_NOT[plugin])
        else:
            sheet.same(key, "its plugin is not used")
