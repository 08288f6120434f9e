"""What a compute node may want to reach outside of itself, and where that is."""

import os
import socket
import subprocess
import sys
from urllib.parse import urlsplit

NAMES = {
    "hub": "the model hub",
    "packages": "the package index",
    "wandb": "Weights & Biases",
    "login": "this machine",
}
"""What each target is, in words."""
TIMEOUT = 3
"""Seconds for one target on the node."""
_PIP_TIMEOUT = 10.0
_PORTS = {"http": 80, "https": 443}
_WANDB = "https://api.wandb.ai"


def targets() -> list[tuple[str, str, int]]:
    """Name, host and port of each target: as this machine's environment and pip's settings name them.

    A package index that nobody has named is left out."""
    from huggingface_hub.constants import ENDPOINT

    addresses = {
        "hub": os.environ.get("HF_ENDPOINT") or ENDPOINT,
        "packages": os.environ.get("PIP_INDEX_URL") or _index_of_pip(),
        "wandb": os.environ.get("WANDB_BASE_URL") or _WANDB,
    }
    found = [(name, *place) for name, address in addresses.items() if (place := _place(address)) is not None]
    return [*found, ("login", socket.gethostname(), 22)]


def _place(address: str) -> tuple[str, int] | None:
    try:
        parts = urlsplit(address)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname and port else None


def _index_of_pip() -> str:
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_PIP_TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
