"""Keys of the training itself: how long, batch, optimiser, schedule, loss."""

from typing import Any

from conf.schema.optimizers import FACTS
from launcher.axolotl import rows, schedules
from launcher.axolotl.sheet import Sheet, is_off, shown

OPTIMIZERS = {
    "adamw_torch": "adamw",
    "adamw_torch_fused": "adamw_fused",
    "adamw_apex_fused": "adamw_fused",
    "adamw_torch_npu_fused": "adamw_fused",
    "adamw_torch_xla": "adamw",
    "adamw_hf": "adamw",
    "adamw": "adamw",
    "optimi_adamw": "adamw",
    "flash_adamw": "adamw",
    "adamw_bnb_8bit": "adamw_8bit",
    "adamw_8bit": "adamw_8bit",
    "adamw_torch_8bit": "adamw_8bit",
    "ao_adamw_8bit": "adamw_8bit",
    "paged_adamw_32bit": "paged_adamw",
    "paged_adamw": "paged_adamw",
    "paged_adamw_8bit": "paged_adamw_8bit",
    "adafactor": "adafactor",
    "lion_32bit": "lion",
    "lion_pytorch": "lion",
    "lion": "lion",
    "flash_lion": "lion",
    "lion_8bit": "lion_8bit",
    "paged_lion_32bit": "paged_lion",
    "paged_lion_8bit": "paged_lion_8bit",
    "sgd": "sgd",
    "adagrad": "adagrad",
    "rmsprop": "rmsprop",
    "rmsprop_bnb": "rmsprop",
    "rmsprop_bnb_32bit": "rmsprop",
    "galore_adamw": "galore",
    "galore_adamw_8bit": "galore",
    "schedule_free_adamw": "schedule_free",
    "muon": "muon",
    "stable_adamw": "stable_adamw",
    "ademamix": "ademamix",
    "ademamix_8bit": "ademamix_8bit",
    "paged_ademamix_32bit": "ademamix",
    "paged_ademamix_8bit": "ademamix_8bit",
    "apollo_adamw": "apollo",
}
"""Every spelling of an optimiser, and method.optimizer."""
_NOTES = {
    "adamw_torch_8bit": "bitsandbytes' 8-bit states in place of torchao's",
    "ao_adamw_8bit": "bitsandbytes' 8-bit states in place of torchao's",
    "galore_adamw_8bit": "its states are kept in full",
    "optimi_adamw": "AdamW; its sums are exact in fp32",
    "flash_adamw": "AdamW; its states are kept in full",
    "flash_lion": "Lion; its states are kept in full",
}
_READS_ARGUMENTS = (
    "sgd", "adagrad", "rmsprop", "ademamix", "ademamix_8bit", "galore", "apollo", "schedule_free", "stable_adamw",
    "muon",
)  # fmt: skip
"""Optimisers to which Axolotl, or transformers below it, hands what stands in optim_args."""
SAME = {
    "data_seed": "Axolotl does not pass it on: seed orders the rows",
    "torchdistx_path": "of an optimiser that there is not",
    "eaft_alpha": "of use_eaft alone",
    "eaft_k": "of use_eaft alone",
    "chunked_cross_entropy": "the same loss with less memory",
    "chunked_cross_entropy_num_chunks": "the same loss with less memory",
    "auto_find_batch_size": "the batch is what is written: one that does not fit ends with a message",
    "loss_watchdog_threshold": "it ends a run that has gone wrong; one that has not is the same",
    "loss_watchdog_patience": "it ends a run that has gone wrong; one that has not is the same",
}
REFUSED = {
    "use_eaft": "this loss (EAFT) there is not",
    "lr_groups": "modules have no learning rates of their own but the embeddings (embedding_lr)",
    "kd_trainer": "distillation is to come",
    "trainer_cls": "a trainer class of one's own cannot be used",
    "adam_epsilon2": "of an optimiser that there is not (CAME)",
    "adam_beta3": "of an optimiser that there is not (CAME)",
    "jagged_restart_steps": "the learning rate is not restarted during training",
    "freeze_mm_modules": "models of images and sound are to come",
}
_YET = ("kd_trainer", "freeze_mm_modules")
_DION = ("dion_lr", "dion_momentum", "dion_rank_fraction", "dion_rank_multiple_of")
_QGALORE = (
    "rank", "update_proj_gap", "scale", "proj_type", "proj_quant", "proj_bits", "proj_group_size", "cos_threshold",
    "gamma_proj", "queue_size",
)  # fmt: skip
DEAD = {
    "jagged_restart_warmup_steps": "of jagged_restart_steps alone",
    "jagged_restart_anneal_steps": "of jagged_restart_steps alone",
    **dict.fromkeys(_DION, "of the optimiser dion alone"),
    **{f"qgalore_{key}": "of the optimiser q_galore alone" for key in _QGALORE},
}


def take(sheet: Sheet) -> None:
    """Take the keys of the training."""
    for key, why in (SAME | DEAD).items():
        sheet.same(key, why)
    for key, why in REFUSED.items():
        if is_off(sheet.places.get(key)):
            sheet.same(key, "switched off")
        else:
            sheet.refuse(key, why, yet=key in _YET)
    _random(sheet)
    seed = sheet.whole("seed")
    sheet.set("seed", 42 if seed is None else seed)
    sheet.mapped("seed", "seed")
    _batch(sheet)
    _span(sheet)
    _rate(sheet)
    _optimizer(sheet)
    schedules.take(sheet)
    norm = sheet.number("max_grad_norm", 0)
    sheet.set("method.max_grad_norm", 1.0 if norm is None else norm)
    sheet.mapped("max_grad_norm", "method.max_grad_norm")
    for key in ("noisy_embedding_alpha", "neftune_noise_alpha"):
        alpha = sheet.number(key, 0)
        if alpha:
            sheet.put(key, "method.neftune_alpha", alpha)
        elif alpha == 0:
            sheet.same(key, "switched off")
    dynamic = [sheet.flag(key) for key in ("use_dynamic_finetuning", "use_dft", "enable_dft")]
    sheet.set("method.loss", "dft" if any(dynamic) else "nll")
    for key in ("use_dynamic_finetuning", "use_dft", "enable_dft"):
        sheet.mapped(key, "method.loss")


def _random(sheet: Sheet) -> None:
    """reinit_weights: random weights in place of the published ones, which makes sense where all are trained."""
    if not sheet.flag("reinit_weights"):
        sheet.same("reinit_weights", "switched off")
    elif sheet.fields.get("adapter.kind") == "full":
        sheet.put("reinit_weights", "model.random_weights", True, "they are drawn from seed, not as Axolotl draws them")
    else:
        sheet.refuse("reinit_weights", "an adapter is not trained beside random weights that stay frozen: take one out")


def _batch(sheet: Sheet) -> None:
    """micro_batch_size, gradient_accumulation_steps, batch_size: of a worker all three; any two give the third."""
    micro = sheet.whole("micro_batch_size", 1)
    accumulation = sheet.whole("gradient_accumulation_steps", 1)
    batch = sheet.whole("batch_size", 1)
    if batch is not None and micro is None and accumulation is None:
        sheet.refuse(
            "batch_size", "batch_size needs micro_batch_size or gradient_accumulation_steps: Axolotl refuses it too"
        )
    if batch is not None and micro is None and accumulation is not None:
        micro = max(1, batch // accumulation)
    micro = micro or 1
    if accumulation is None:
        accumulation = max(1, batch // micro) if batch is not None else 1
        sheet.mapped("batch_size", "batch.accumulation", f"batch_size / micro_batch_size = {accumulation}")
    elif batch is not None:
        why = "it follows from micro_batch_size and gradient_accumulation_steps"
        if batch != micro * accumulation:
            why = f"Axolotl trains by micro_batch_size x gradient_accumulation_steps, {micro * accumulation} a worker"
        sheet.same("batch_size", why)
    sheet.set("batch.global", None)
    sheet.set("batch.micro", micro)
    sheet.set("batch.accumulation", accumulation)
    sheet.mapped("micro_batch_size", "batch.micro")
    sheet.mapped("gradient_accumulation_steps", "batch.accumulation")
    evaluation = sheet.whole("eval_batch_size", 1)
    if evaluation is not None and rows.is_held_out(sheet):
        sheet.put("eval_batch_size", "batch.evaluation", evaluation)
    elif evaluation is not None:
        sheet.same("eval_batch_size", "without held-out rows nothing is evaluated")


def _span(sheet: Sheet) -> None:
    steps = None if sheet.number("max_steps") == -1 else sheet.whole("max_steps")
    epochs = sheet.number("num_epochs")
    if epochs is not None and epochs <= 0:
        sheet.refuse("num_epochs", "must be above 0")
    if steps:
        sheet.put("max_steps", "method.max_steps", steps)
        sheet.same("num_epochs", "max_steps stands above it")
        return
    sheet.same("max_steps", "switched off: num_epochs says how long")
    sheet.set("method.epochs", epochs if epochs is not None and epochs > 0 else 1.0)
    sheet.mapped("num_epochs", "method.epochs")


def _rate(sheet: Sheet) -> None:
    rate = sheet.number("learning_rate")
    if rate is None or rate <= 0:
        if "learning_rate" not in sheet.places or sheet.places["learning_rate"] in (None, ""):
            sheet.places.setdefault("learning_rate", None)
            sheet.refuse("learning_rate", "learning_rate is not given: Axolotl needs it, as `learning_rate: 2e-4`")
        else:
            sheet.refuse("learning_rate", f"{shown(sheet.places['learning_rate'])} must be above 0")
        return
    sheet.put("learning_rate", "method.learning_rate", rate)
    scale, own = sheet.number("embedding_lr_scale"), sheet.number("embedding_lr")
    if own:
        sheet.put("embedding_lr", "method.embedding_learning_rate", own)
        sheet.same("embedding_lr_scale", "embedding_lr stands above it")
    elif scale:
        sheet.put("embedding_lr_scale", "method.embedding_learning_rate", rate * scale)


def _optimizer(sheet: Sheet) -> None:
    name = sheet.text("optimizer") or "adamw_torch_fused"
    found = OPTIMIZERS.get(name.lower())
    if found is None or found not in FACTS:
        sheet.refuse("optimizer", f"the optimiser {name} there is not: {', '.join(sorted(OPTIMIZERS))}")
        return
    sheet.set("method.optimizer", found)
    sheet.mapped("optimizer", "method.optimizer", _NOTES.get(name.lower(), ""))
    decay = sheet.number("weight_decay", 0)
    sheet.set("adapter.weight_decay", decay or 0.0)
    sheet.mapped("weight_decay", "adapter.weight_decay")
    facts = FACTS[found]
    for key, field, takes in (
        ("adam_beta1", "beta1", facts.beta1),
        ("adam_beta2", "beta2", facts.beta2),
        ("adam_epsilon", "epsilon", facts.epsilon),
    ):
        value = sheet.number(key, 0)
        if value is None:
            continue
        if takes:
            sheet.put(key, f"method.{field}", value)
        else:
            sheet.same(key, f"{found} has no such number")
    arguments = _arguments(sheet)
    if arguments and found not in _READS_ARGUMENTS:
        sheet.same("optim_args", f"transformers gives {found} none of them")
    elif arguments:
        sheet.set("method.optimizer_args", arguments)
        sheet.mapped("optim_args", "method.optimizer_args")
    if sheet.raw("optim_target_modules") is not None:
        sheet.same("optim_target_modules", "gradients of all matrices in attention and MLP are projected")


def _arguments(sheet: Sheet) -> dict[str, Any]:
    """optim_args, a mapping or text as `rank=64, scale=0.1`."""
    told = sheet.raw("optim_args")
    if isinstance(told, dict):
        pairs = {str(key): value for key, value in told.items()}
    elif isinstance(told, str) and all("=" in part for part in told.split(",")):
        pairs = {part.partition("=")[0].strip(): part.partition("=")[2].strip() for part in told.split(",")}
    else:
        if told is not None:
            sheet.refuse("optim_args", f"{shown(told)} must be a mapping, or text as `rank=64,scale=0.1`")
        return {}
    found: dict[str, Any] = {}
    for key, value in pairs.items():
        if isinstance(value, str):
            found[key] = _plain(value)
        elif isinstance(value, bool | int | float):
            found[key] = value
        else:
            place = f"optim_args.{key}"
            sheet.refuse(
                place if place in sheet.places else "optim_args",
                f"{shown(value)} must be a number, text, true or false",
            )
    return found


def _plain(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)
