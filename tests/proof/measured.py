"""Results that are kept: one small file a cell, below the digest of the code that made it."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from conf.folder import write_json

ROOT = Path(__file__).parents[2]
ROOMS = (
    "conf",
    "launcher",
    "trainer",
    "slurm_templates",
    "tests/tiny.py",
    "tests/faults/workload.py",
    "tests/proof/runs.py",
)
"""The product, and what sets the runs' numbers."""
STACK = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")


@dataclass(frozen=True)
class Measured:
    """What came of one run."""

    name: str
    """Of the cell, or of the calm run."""
    digest: str
    """sha256 of the final weights' files."""
    steps: int
    """Steps of the whole run."""
    step: int | None
    """Last step before the interruption; None for a calm run."""
    resumed: int | None
    """First step after it."""
    epoch: float | None
    """Passes over the rows at the interruption."""
    seconds: float
    """From submission to the end."""

    @property
    def lost(self) -> int | None:
        """Steps made twice."""
        return None if self.step is None or self.resumed is None else self.step + 1 - self.resumed


def code_digest() -> str:
    """Digest of the code that decides a result: the product's rooms, this proof, and the libraries' versions."""
    total = hashlib.sha256(json.dumps({name: version(name) for name in STACK}).encode())
    for place in (ROOT / room for room in ROOMS):
        files = [place] if place.is_file() else sorted(place.rglob("*"))
        for file in files:
            if file.suffix in (".py", ".yaml", ".j2"):
                total.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return total.hexdigest()[:16]


def cache_folder() -> Path:
    """Where results of the present code lie."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "slurmwright" / "proof" / code_digest()


class Cache:
    """Results of one state of the code."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, name: str) -> Measured | None:
        """The result of a run, None where there is none yet."""
        try:
            return Measured(**json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8")))
        except (FileNotFoundError, TypeError, ValueError):
            return None

    def put(self, found: Measured) -> None:
        """Keep a result."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / f"{found.name}.json", asdict(found))
