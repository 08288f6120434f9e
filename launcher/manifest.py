"""manifest.json: what a run is made of, for whoever has to make it again."""

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from conf.folder import ROOMS, now
from conf.schema.run import RunConfig
from launcher.resolve import Resolved

STACK = (
    "slurmwright", "torch", "transformers", "trl", "peft", "accelerate", "datasets", "deepspeed", "bitsandbytes",
    "tokenizers", "safetensors", "hydra-core", "omegaconf", "pydantic", "submitit", "tensorboard",
)  # fmt: skip
"""Packages whose versions decide how a run behaves."""
_GIT_TIMEOUT = 5.0
"""Seconds for one git command: a checkout on a slow file system must not hold up a submission."""


def manifest(resolved: Resolved, run_id: str) -> dict[str, Any]:
    """The manifest of a run about to be frozen, without what it is made from. `assets` is filled in by `python -m
    trainer prepare`."""
    config = resolved.config
    return {
        "run_id": run_id,
        "identity_digest": resolved.digest,
        "config_digest": config_digest(config),
        "created": now(),
        "identity": resolved.identity,
        "seed": config.seed,
        "assets": {},
        "composed": resolved.composed.dump(),
        "submissions": [],
    }


def config_digest(config: RunConfig) -> str:
    """sha256 of the canonical JSON of a config, operational fields included, in hex."""
    text = json.dumps(config.dump(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages of the stack."""
    found = {"python": platform.python_version()}
    for package in STACK:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            pass
    return found


def git_state(checkout: Path) -> dict[str, str | None]:
    """Commit of the checkout and sha256 of its uncommitted changes; None where there is no git or no change."""
    top = _git(checkout, "rev-parse", "--show-toplevel", "HEAD")
    lines = os.fsdecode(top or b"").splitlines()
    if len(lines) != 2 or not os.path.samefile(lines[0], checkout):
        return {"commit": None, "diff_digest": None}
    changes = _git(checkout, "diff", "--binary", "--no-ext-diff", "HEAD", "--", *ROOMS)
    return {"commit": lines[1], "diff_digest": hashlib.sha256(changes).hexdigest() if changes else None}


def _git(checkout: Path, *arguments: str) -> bytes | None:
    """Output of a git command, None where it fails."""
    try:
        done = subprocess.run(
            ["git", "-C", str(checkout), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_TIMEOUT,
            env=os.environ | {"GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
