"""sweep.json: what a sweep is made of."""

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conf.folder import now
from sweeps.expand import Settings
from sweeps.folder import SweepFolder


def record_of(
    sweep: SweepFolder, kind: str, settings: Settings, words: Sequence[str], config_dir: Path | None
) -> dict[str, Any]:
    """The record of a sweep with this command added to those that made it; nothing is written."""
    before = sweep.sweep()
    goals = settings.sweep.objectives or [settings.sweep.metric]
    listed: list[list[str]] = before.get("words", [])
    return {
        "version": 1,
        "sweep_id": sweep.id,
        "kind": kind,
        "created": before.get("created", now()),
        "words": [*(line for line in listed if line != list(words)), list(words)],
        "cwd": os.getcwd(),
        "config_dir": str(config_dir) if config_dir else None,
        "settings": settings.sweep.model_dump(mode="json"),
        "budget": settings.budget.model_dump(mode="json"),
        "metric": settings.sweep.metric,
        "objectives": [{"metric": goal, "direction": direction(goal)} for goal in goals],
    }


def direction(metric: str) -> str:
    """Whether a measure is better small or large."""
    return "maximize" if metric == "tokens_per_second" else "minimize"


def made_with(code_digest: str, store: str | None) -> dict[str, Any]:
    """What the sweep's jobs run with."""
    return {"code_digest": code_digest, "python": platform.python_version(), "store": store}
