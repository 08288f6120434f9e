"""Trying the new recipe out, and giving way where a rule refuses what decides no result."""

import re
from dataclasses import replace

from conf.schema.problems import Problem
from launcher.axolotl import recipe
from launcher.axolotl.sheet import Finding, Sheet

CLUSTERS = ("1xh100", "8xh100", "8xh200", "2x8xh200", "4x8xh200")
"""Clusters of the example command, from small to large."""
_MEMORY = ("weights-memory", "training-memory", "shards-memory")
_LAYOUTS = ("fsdp2", "zero2", "ddp")
"""Layouts that are tried in place of one that a rule refuses."""
_GIVE_WAY = (
    "method.liger", "method.compile", "model.attention", "tracking.mode", "tracking.name", "precision.tf32",
    "parallel.reshard", "parallel.offload", "parallel.strategy", "checkpoint.per_epoch", "checkpoint.interval",
    "evaluation.per_epoch", "evaluation.interval", "method.gradient_checkpointing", "batch.evaluation",
    "tracking.project", "tracking.entity", "tracking.label", "tracking.interval", "checkpoint.keep",
)  # fmt: skip
"""Fields that no result hangs on: what a rule refuses of them is taken back."""
_PLACE = re.compile(r" \([^()]*imported\.yaml:\d+\)")
_ROUNDS = 8


def settle(sheet: Sheet) -> tuple[str, tuple[Problem, ...]]:
    """Hold the recipe against schema and rules. Gives the cluster of the example command, and the warnings.

    What cannot stand is taken back where no result hangs on it, else refused key by key."""
    size = 0 if sheet.devices == 1 else 1
    warnings: tuple[Problem, ...] = ()
    for _ in range(_ROUNDS):
        problems, warnings = _problems(sheet, CLUSTERS[size])
        if any(problem.rule in _MEMORY for problem in problems) and size + 1 < len(CLUSTERS):
            size += 1
            continue
        problems = [problem for problem in problems if problem.rule not in _MEMORY]
        if not problems:
            break
        seen: set[str] = set()
        for problem in problems:
            if problem.field not in seen:
                seen.add(problem.field)
                _give_way(sheet, problem, CLUSTERS[size])
    return CLUSTERS[size], warnings


def _problems(sheet: Sheet, cluster: str) -> tuple[list[Problem], tuple[Problem, ...]]:
    tried = recipe.try_out(recipe.render(sheet, []), cluster)
    return [_plain(problem) for problem in tried.problems], tuple(_plain(problem) for problem in tried.warnings)


def _plain(problem: Problem) -> Problem:
    """The problem without the place in the file that was tried."""
    return replace(problem, message=_PLACE.sub("", problem.message))


def _give_way(sheet: Sheet, problem: Problem, cluster: str) -> None:
    field = problem.field
    if _is_shape(sheet, problem):
        sheet.choices["model"] = "hf"
        sheet.mapped(
            "base_model", "model=hf, model.id", "its context is not that of the catalogue's entry of this shape"
        )
    elif field in ("parallel.strategy", "method.optimizer", "precision.weights") and _other_layout(
        sheet, problem, cluster
    ):
        return
    elif field in _GIVE_WAY:
        sheet.fields.pop(field, None)
        sheet.choices.pop(field.partition(".")[0], None)
        for finding in _keys_of(sheet, field):
            why = f"no result hangs on it, and {problem.message}"
            sheet.findings[finding.key] = replace(finding, status="equivalent default", to="", why=why)
    else:
        keys = _keys_of(sheet, field)
        for finding in keys:
            sheet.refuse(finding.key, problem.message)
        if not keys:
            sheet.refuse(_nearest_key(sheet, field), f"{field}: {problem.message}")
        sheet.fields.pop(field, None)


def _is_shape(sheet: Sheet, problem: Problem) -> bool:
    """Whether a problem is of numbers of the catalogue's entry that weights of the same shape may not share."""
    other = sheet.fields.get("model.source") == "hub"
    return (
        problem.rule in ("context-length", "rope-twice", "rope-unneeded") and other and sheet.choices["model"] != "hf"
    )


def _other_layout(sheet: Sheet, problem: Problem, cluster: str) -> bool:
    """Lay the model out otherwise, where a rule refuses the layout that the recipe names: no result hangs on it."""
    before = sheet.fields.get("parallel.strategy")
    if before in (None, "auto", "ddp"):
        return False
    kept = {field: value for field, value in sheet.fields.items() if field.startswith("parallel.")}
    for strategy in _LAYOUTS:
        if strategy == before:
            continue
        for field in kept:
            sheet.fields.pop(field, None)
        sheet.set("parallel.strategy", strategy)
        if all(found.rule != problem.rule for found in _problems(sheet, cluster)[0]):
            for finding in _keys_of(sheet, "parallel.strategy"):
                why = f"parallel.strategy={strategy} in place of {before}, which changes no result: {problem.message}"
                sheet.findings[finding.key] = replace(finding, why=why)
            return True
    sheet.fields.update(kept)
    return False


def _keys_of(sheet: Sheet, field: str) -> list[Finding]:
    """Keys that went to a field."""
    return [
        finding
        for finding in sheet.findings.values()
        if field in finding.to.replace("data.sets.", "data.").split(", ") and not isinstance(finding.value, dict)
    ]


def _nearest_key(sheet: Sheet, field: str) -> str:
    """A key of the recipe that a field's group comes from."""
    group = field.partition(".")[0]
    for key, finding in sheet.findings.items():
        if finding.to.startswith(group + "."):
            return key
    return next(iter(sheet.places))
