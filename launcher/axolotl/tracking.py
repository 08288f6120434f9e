"""Keys of the services that curves and results go to."""

import re

from launcher.axolotl.sheet import Sheet, is_off
from launcher.options import options

SAME = {
    "wandb_watch": "gradients are not recorded one by one; their norm is",
    "mlflow_tracking_uri": "no mlflow is used",
    "mlflow_experiment_name": "no mlflow is used",
    "mlflow_run_name": "no mlflow is used",
    "hf_mlflow_log_artifacts": "results stay in the run folder",
    "use_otel_metrics": "metrics lie in the run folder",
    "otel_metrics_host": "metrics lie in the run folder",
    "otel_metrics_port": "metrics lie in the run folder",
}
_HUB = "results stay in the run folder: upload them from there"
DECIDE = {
    "hub_model_id": _HUB,
    "hub_strategy": _HUB,
    "hub_revision": _HUB,
    "hub_private_repo": _HUB,
    "push_to_hub": _HUB,
    "push_to_hub_model_id": _HUB,
    "push_dataset_to_hub": "prepared data stays in the store",
    "wandb_log_model": _HUB,
    "use_comet": "there is no Comet: tracking=wandb, mlflow or tensorboard",
    "use_trackio": "there is no Trackio: tracking=wandb, mlflow or tensorboard",
    "use_swanlab": "there is no SwanLab: tracking=wandb, mlflow or tensorboard",
}
"""Where a person must say what is wanted; no weight hangs on it."""
_OTHERS = re.compile(r"(comet|trackio|swanlab|gradio)_\w+$")
_WANDB = {"wandb_entity": "entity", "wandb_name": "label", "wandb_run_id": "label"}


def take(sheet: Sheet) -> None:
    """Take the keys of tracking. Axolotl uses W&B where a project is named."""
    for key, why in DECIDE.items():
        if is_off(sheet.places.get(key)):
            sheet.same(key, "switched off")
        else:
            sheet.decide(key, why)
    wandb = _wandb(sheet)
    mlflow = sheet.flag("use_mlflow") is True or sheet.raw("mlflow_experiment_name") is not None
    board = sheet.flag("use_tensorboard")
    if wandb:
        _use(sheet, "wandb")
    elif mlflow:
        _use(sheet, "mlflow")
    elif board is not None:
        _use(sheet, "tensorboard" if board else "none")
    if mlflow and not wandb:
        sheet.mapped("use_mlflow", "tracking.name")
        for key, field in (
            ("mlflow_tracking_uri", "url"),
            ("mlflow_experiment_name", "project"),
            ("mlflow_run_name", "label"),
        ):
            value = sheet.text(key)
            if value is not None:
                sheet.put(key, f"tracking.{field}", value)
    elif mlflow:
        sheet.decide("use_mlflow", "a run is tracked in one place, here W&B: tracking=mlflow for the other")
    else:
        sheet.same("use_mlflow", "switched off")
    if board is not None:
        if wandb or mlflow:
            sheet.same("use_tensorboard", "metrics lie in the run folder beside what the service gets")
        else:
            sheet.mapped("use_tensorboard", "tracking.name")
    for key, why in SAME.items():
        if not sheet.known(key):
            sheet.same(key, why)
    for key in sheet.places:
        if _OTHERS.fullmatch(key) and not sheet.known(key):
            sheet.same(key, "no such service is used")


def _wandb(sheet: Sheet) -> bool:
    mode = (sheet.text("wandb_mode") or "").lower()
    project = sheet.text("wandb_project")
    used = sheet.flag("use_wandb")
    wanted = (used if used is not None else project is not None) and mode != "disabled"
    keys = ("use_wandb", "wandb_project", "wandb_mode", *_WANDB)
    if not wanted:
        for key in keys:
            sheet.same(key, "no W&B is used")
        return False
    sheet.mapped("use_wandb", "tracking.name")
    if project is not None:
        sheet.put("wandb_project", "tracking.project", project)
    for key, field in _WANDB.items():
        value = sheet.text(key)
        if value is not None:
            sheet.put(key, f"tracking.{field}", value)
    sheet.set("tracking.mode", "offline" if mode in ("offline", "dryrun") else "online")
    sheet.mapped("wandb_mode", "tracking.mode")
    return True


def _use(sheet: Sheet, name: str) -> None:
    if name in options("tracking"):
        sheet.choices["tracking"] = name
    sheet.set("tracking.name", name)
