"""An offline job: every library's own switch against asking a network, and the guard over what asks all the same."""

import json
import os
from collections.abc import MutableMapping, Sequence
from pathlib import Path

from conf.folder import RunFolder
from conf.schema.run import RunConfig
from trainer import guard
from trainer.names import ask_nobody

SWITCHES = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_XET": "1",
}
"""What every worker has, online too: all that it needs was prepared, and it never asks the hub for more."""
SILENCE = {
    "DO_NOT_TRACK": "1",
    "DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_MODE": "offline",
    "WANDB_ERROR_REPORTING": "false",
}
"""What an offline job has besides: nothing is counted, reported or looked up anywhere."""
STARTUP = Path("trainer") / "startup"
"""Folder below a run's code whose module Python imports first, where it is in PYTHONPATH."""


def enter(config: RunConfig, folder: RunFolder, nodes: Sequence[str], node: str, attempt: int) -> None:
    """Where the config says offline: switch all libraries off and guard this process, and its children by what they
    inherit. `nodes` may be spoken to; `node` is this one's name in what is told. Does nothing for an online run."""
    if not config.offline:
        return
    switch_off(os.environ)
    ask_nobody(nodes)
    if config.site.guard == "off" or guard.VARIABLE in os.environ:
        return
    described = {
        "mode": config.site.guard,
        "hosts": guard.allowed_hosts(nodes),
        "run": str(folder.path),
        "attempt": attempt,
        "node": node,
    }
    os.environ[guard.VARIABLE] = json.dumps(described)
    guard.install(described)


def switch_off(environ: MutableMapping[str, str]) -> None:
    """Set every switch, whatever it was: for libraries imported from now on, and for children."""
    environ.update(SWITCHES | SILENCE)


def python_path(folder: RunFolder, offline: bool) -> str:
    """PYTHONPATH of whatever a run starts: its own code, and offline the folder that brings the guard."""
    return f"{folder.code}{os.pathsep}{folder.code / STARTUP}" if offline else str(folder.code)
