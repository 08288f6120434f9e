"""What lies in a store under which name: the one place that launcher and trainer both take it from.

Beside the folders of weights and data, each named by the digest of its contents (`models/<digest>/`), a store holds
`listings/<digest>.json` (size and sha256 of each file of such a folder) and `staged/<key>.json` (all that runs of one
model and one set of rows touch), so that a store can be proved complete with no network and no training stack.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from conf.schema.identity import identity
from conf.schema.run import RunConfig

KINDS = ("models", "tokenizers", "data", "rows")
"""Folders of a store whose own folders are named by the digest of what lies in them."""
SAFE_WEIGHTS = (".safetensors",)
PICKLED = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
"""Ends of files that run code when they are loaded."""
LONGEST_NAME = 1024
"""Characters of a file's name, folders included."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NOT_ASSETS = frozenset({"model.source", "model.random_weights"})
"""Where a model was found, which differs between two machines; and weights drawn here, which nothing brings."""


def asset_identity(config: RunConfig) -> dict[str, Any]:
    """The fields of a run's identity that decide which weights and rows it touches; equal for runs that share them."""
    found = {
        field: value
        for field, value in identity(config).items()
        if field.startswith(("model.", "data.")) and field not in _NOT_ASSETS
    }
    found |= {"seed": config.seed, "method.objective": config.method.objective}
    if config.data.streaming:
        found |= {"method.max_steps": config.method.max_steps, "batch.global": config.batch.global_}
    return found


def staged_key(config: RunConfig) -> str:
    """Name of the record of a run's assets: sha256 of their identity, in hex."""
    text = json.dumps(asset_identity(config), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def record_file(store: Path, key: str) -> Path:
    """Where a store keeps the record of a key."""
    return store / "staged" / f"{key}.json"


def listing_file(store: Path, digest: str) -> Path:
    """Where a store keeps the listing of a folder."""
    return store / "listings" / f"{digest}.json"


def is_digest(text: Any) -> bool:
    """Whether this is a sha256 in hex, as folders of a store are called."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def digest_of_files(files: Iterable[Mapping[str, Any]]) -> str:
    """Digest of a folder from its files' names and sha256 (in hex), independent of their order."""
    whole = hashlib.sha256()
    # As paths are ordered, part by part: "a/b" stands before "a-b".
    for file in sorted(files, key=lambda file: PurePosixPath(file["name"]).parts):
        whole.update(f"{len(file['name'])}:{file['name']}:{file['sha256']}\n".encode())
    return whole.hexdigest()


def unsafe(name: str) -> str | None:
    """Why a file's name, as somebody else gives it, must not be written; None for a plain one below its folder."""
    if not name or len(name) > LONGEST_NAME:
        return f"is empty or longer than {LONGEST_NAME} characters"
    if not name.isprintable() or "\\" in name or ":" in name:
        return "has a control character, a backslash or a colon"
    if name.startswith(("/", "~")):
        return "is absolute"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "leads out of its folder"
    if any(len(part.encode()) > 255 for part in name.split("/")):
        return "has a part longer than 255 bytes"
    return None
