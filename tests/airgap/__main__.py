"""Pack a run and this very environment beside a small hub; then, in a network namespace that has a loopback device and
nothing else, make a bare environment of the wheels, unpack, prove the store complete, and train.

Needs root (for the namespace) and about 5 GB of disk. Prints what was done, with sizes and times.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.hub.repository import Repository
from tests.hub.server import serving
from tests.tiny import tiny_llama, tiny_rows

REPOSITORY = Path(__file__).parents[2]
WORDS = ("+model=hf", "model.id=org/tiny", "data=hub", "data.path=org/rows", "data.max_length=64")
TRAIN = (*WORDS, "offline=true", "cluster=local", "adapter.r=4", "method.max_steps=4", "method.learning_rate=1e-2")
NO_NETWORK = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
TIMEOUT = 3600.0
"""Seconds for one command."""


def main() -> int:
    """The command. Gives 0 where the run completed."""
    parser = argparse.ArgumentParser(prog="python -m tests.airgap", description="Train where there is no network.")
    parser.add_argument("--folder", type=Path, help="where to work, and what stays (default: a folder that goes)")
    folder = parser.parse_args().folder
    if folder is not None:
        folder.mkdir(parents=True)
        return carry_out(folder.absolute())
    with tempfile.TemporaryDirectory(prefix="slurmwright-airgap-") as name:
        return carry_out(Path(name))


def carry_out(folder: Path) -> int:
    """Both sides of the gap, in `out` and `in`; only `carried` is known to both."""
    outside, carried, inside = (folder / name for name in ("outside", "carried", "inside"))
    for place in (outside, carried, inside):
        place.mkdir()
    with serving() as hub:
        hub.add("org/tiny", Repository.of_folder(tiny_llama(outside / "tiny")))
        hub.add("org/rows", Repository({"train.jsonl": tiny_rows(outside / "rows", 60).read_bytes()}, kind="datasets"))
        known = {"HF_ENDPOINT": hub.url, "HF_HOME": str(outside / "hf"), "PYTHONPATH": str(REPOSITORY)}
        bundle = carried / "tiny.bundle"
        stage = [sys.executable, "-m", "launcher", "stage", *WORDS, "--store", str(outside / "store")]
        step("stage, bundle and wheelhouse", [*stage, "--bundle", str(bundle), "--wheelhouse"], os.environ | known)
    wheels = list((carried / "tiny.bundle.wheelhouse").glob("*.whl"))
    print(f"  {len(wheels)} wheels, {sum(wheel.stat().st_size for wheel in wheels) / 1e9:.2f} GB")
    bare = {"PATH": os.defpath + ":/usr/local/bin", "HOME": str(inside), "LANG": "C.UTF-8", "PYTHON": base_python()}
    python, store = str(inside / "venv" / "bin" / "python"), str(inside / "store")
    step("install", [*NO_NETWORK, "sh", f"{bundle}.wheelhouse/install.sh", str(inside / "venv")], bare)
    launcher = [*NO_NETWORK, python, "-m", "launcher"]
    bare |= {"SLURMWRIGHT_STORE": store}
    step("unpack", [*launcher, "stage", "--from-bundle", str(bundle)], bare, inside)
    step("verify", [*launcher, "verify", *WORDS, "offline=true"], bare, inside)
    answer = json.loads(step("train", [*launcher, *TRAIN, "--json"], bare, inside))
    result = json.loads((Path(answer["folder"]) / "result.json").read_text())
    print(f"  {result['status']}, {result['step']} steps, training loss {result['train_loss']:.4f}")
    return 0 if result["status"] == "completed" else 4


def base_python() -> str:
    """The interpreter that this environment was made of: a bare one has none of its packages."""
    return str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}")


def step(what: str, command: Sequence[str], environment: Mapping[str, str], folder: Path | None = None) -> str:
    """Run one command; its stdout. Ends this program where it fails."""
    begun = time.monotonic()
    done = subprocess.run(
        command, cwd=folder or REPOSITORY, env=environment, capture_output=True, text=True, timeout=TIMEOUT
    )
    print(f"{what}: {time.monotonic() - begun:.0f} s, exit {done.returncode}", flush=True)
    if done.returncode != 0:
        print(done.stdout[-3000:], done.stderr[-6000:])
        sys.exit(done.returncode)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
