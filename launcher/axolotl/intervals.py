"""Keys of what happens during a run: checkpoints, evaluation, early stopping, records. None of them changes a step."""

from launcher.axolotl.rows import is_held_out
from launcher.axolotl.sheet import Sheet, is_off, shown

_FOLDER = "checkpoints lie in the run folder, whole, and a run goes on by itself from the newest"
_MEASURE = "no benchmarks run within a training: evaluate the result"
SAME = {
    "output_dir": "results go to the run folder, runs/<run id>: name= gives it a name, run.root= a place",
    "auto_resume_from_checkpoints": _FOLDER,
    "save_only_model": _FOLDER,
    "save_safetensors": "weights are always written as safetensors",
    "save_first_step": "a first checkpoint that cannot be written is reported when it is due",
    "dynamic_checkpoint": "`python -m launcher checkpoint RUN` writes one at any time",
    "profiler_steps": "measuring alone",
    "profiler_steps_start": "measuring alone",
    "include_tokens_per_second": "tokens a second are always recorded",
    "include_tkps": "tokens a second are always recorded",
    "eval_accumulation_steps": "memory alone",
    "metric_for_best_model": "the loss of the held-out rows is what counts",
    "greater_is_better": "the loss of the held-out rows is what counts",
    "num_generation_samples": "of generate_samples alone",
    "generation_max_new_tokens": "of generate_samples alone",
    "generation_temperature": "of generate_samples alone",
    "generation_top_p": "of generate_samples alone",
    "generation_top_k": "of generate_samples alone",
    "generation_prompt_ratio": "of generate_samples alone",
    "generation_do_sample": "of generate_samples alone",
    "bench_dataset": "of do_bench_eval alone",
    "bench_split": "of do_bench_eval alone",
    "lm_eval_tasks": _MEASURE,
    "lm_eval_batch_size": _MEASURE,
    "lm_eval_post_train": _MEASURE,
    "lm_eval_model": _MEASURE,
}
DECIDE = {
    "eval_table_size": (
        "no tables of answers are made during evaluation; `python -m trainer chat RUN` answers afterwards"
    ),
    "eval_max_new_tokens": "no tables of answers are made during evaluation",
    "eval_causal_lm_metrics": _MEASURE,
    "do_causal_lm_eval": _MEASURE,
    "do_bench_eval": _MEASURE,
    "generate_samples": "no samples are written during training; `python -m trainer chat RUN` answers afterwards",
}


def take(sheet: Sheet) -> None:
    """Take the keys of what happens during a run; keys of the data and of the training were taken before."""
    for key, why in SAME.items():
        sheet.same(key, why)
    for key, why in DECIDE.items():
        if sheet.places.get(key) in (None, "", False, 0, [], "false"):
            sheet.same(key, "switched off")
        else:
            sheet.decide(key, why)
    resume = sheet.raw("resume_from_checkpoint")
    if resume is True or is_off(resume):
        sheet.same("resume_from_checkpoint", _FOLDER)
    else:
        sheet.refuse(
            "resume_from_checkpoint",
            "training does not go on from another tool's checkpoint: name weights as base_model",
        )
    held_out = is_held_out(sheet)
    _saves(sheet)
    _evaluations(sheet, held_out)
    logging = sheet.number("logging_steps", 0)
    if logging is not None and logging >= 1:
        sheet.put("logging_steps", "tracking.interval", int(logging))
    elif logging is not None:
        sheet.same("logging_steps", "every step is recorded")
    patience = sheet.whole("early_stopping_patience")
    if patience and held_out:
        sheet.put("early_stopping_patience", "method.early_stopping", patience)
    elif patience is not None:
        sheet.same(
            "early_stopping_patience", "without held-out rows Axolotl never stops early" if patience else "switched off"
        )
    best = sheet.flag("load_best_model_at_end")
    if best and held_out and _aligned(sheet):
        sheet.decide(
            "load_best_model_at_end", "the result is the last step's; with early_stopping_patience it is near the best"
        )
    elif best is not None:
        why = "Axolotl looks for a best one only with held-out rows and save_steps that eval_steps divides"
        sheet.same("load_best_model_at_end", why if best else "switched off")


def _aligned(sheet: Sheet) -> bool:
    saves = sheet.number("save_steps") or sheet.number("saves_per_epoch")
    evaluations = sheet.number("eval_steps") or sheet.number("evals_per_epoch")
    return bool(saves and evaluations)


def _saves(sheet: Sheet) -> None:
    steps, per_epoch = sheet.number("save_steps", 0), sheet.number("saves_per_epoch", 0)
    strategy = _strategy(sheet, "save_strategy")
    interval, share = _interval(sheet, steps, per_epoch)
    if strategy == "no":
        interval, share = None, None
    elif interval is None and share is None:
        interval, share = (500, None) if strategy == "steps" else (None, 1.0)
    sheet.set("checkpoint.interval", interval)
    sheet.set("checkpoint.per_epoch", share)
    for key in ("save_steps", "saves_per_epoch", "save_strategy"):
        sheet.mapped(key, "checkpoint.interval" if share is None else "checkpoint.per_epoch")
    keep = sheet.whole("save_total_limit", 0)
    if keep:
        sheet.put("save_total_limit", "checkpoint.keep", keep)


def _evaluations(sheet: Sheet, held_out: bool) -> None:
    keys = ("eval_steps", "evals_per_epoch", "eval_strategy", "evaluation_strategy")
    steps, per_epoch = sheet.number("eval_steps", 0), sheet.number("evals_per_epoch", 0)
    strategy = _strategy(sheet, "eval_strategy") or _strategy(sheet, "evaluation_strategy")
    if not held_out:
        for key in keys:
            sheet.same(key, "without held-out rows nothing is evaluated")
        return
    sheet.set("evaluation.max_rows", None)
    interval, share = _interval(sheet, steps, per_epoch)
    if strategy == "no" and interval is None and share is None:
        share = None
    elif interval is None and share is None:
        interval, share = (500, None) if strategy == "steps" else (None, 1.0)
    sheet.set("evaluation.interval", interval)
    sheet.set("evaluation.per_epoch", share)
    for key in keys:
        sheet.mapped(key, "evaluation.interval" if share is None else "evaluation.per_epoch")


def _strategy(sheet: Sheet, key: str) -> str | None:
    """steps, epoch, best or no, in the spelling that a YAML reader may have made of `no`."""
    told = sheet.raw(key)
    if told is None:
        return None
    word = "no" if told is False else str(told).strip().lower()
    word = {"false": "no", "off": "no", "none": "no", "epochs": "epoch", "step": "steps"}.get(word, word)
    if word not in ("steps", "epoch", "best", "no"):
        sheet.refuse(key, f"{shown(told)} must be steps, epoch or no: Axolotl refuses it too")
        return None
    return "epoch" if word == "best" else word


def _interval(sheet: Sheet, steps: float | None, per_epoch: float | None) -> tuple[int | None, float | None]:
    """Steps between two, or how many in a pass. A number of steps below 1 is a share of all steps."""
    total, epochs = sheet.fields.get("method.max_steps"), sheet.fields.get("method.epochs")
    if per_epoch and total:
        # Axolotl makes a share of all steps of it, by num_epochs, even where max_steps ends the run.
        return max(1, round(total * min(1.0, 1 / (per_epoch * (sheet.number("num_epochs") or 1.0))))), None
    if per_epoch:
        return None, per_epoch
    if not steps:
        return None, None
    if steps >= 1:
        return int(steps), None
    if total:
        return max(1, round(steps * total)), None
    return None, round(1 / (steps * (epochs or 1.0)), 6)
