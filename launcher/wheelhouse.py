"""The packages of this environment as wheels, with a script that installs them where no package index is reached.

The very versions that are installed here, each held to its sha256; the product itself is one of the wheels.
"""

import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from conf.folder import ROOMS, write_whole
from launcher import ROOT
from launcher.errors import InputError, SiteError

PRODUCT = "slurmwright"
TIMEOUT = 3 * 3600.0
"""Seconds for pip to bring or build all wheels: several GB."""
SUMS = "SHA256SUMS"
REQUIREMENTS = "requirements.txt"
INSTALL = """\
#!/bin/sh
# Makes a Python environment of the wheels beside this file: sh install.sh FOLDER. Needs no network.
# PYTHON names the interpreter, which must be {version} on {machine}.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=${{1:?usage: sh install.sh FOLDER}}
python=${{PYTHON:-python{version}}}
found=$("$python" -c 'import platform; print(".".join(platform.python_version_tuple()[:2]), platform.machine())')
if [ "$found" != "{version} {machine}" ]; then
    echo "these wheels are for Python {version} on {machine}, and $python is $found: name another with PYTHON=..." >&2
    exit 2
fi
(cd "$here" && sha256sum --quiet --strict -c {sums})
"$python" -m venv "$folder"
PIP_CONFIG_FILE=/dev/null "$folder/bin/python" -m pip --isolated --quiet --disable-pip-version-check install \\
    --no-index --find-links "$here" --no-deps --require-hashes -r "$here/{requirements}"
echo "ready: $folder/bin/python -m launcher --help"
"""


def write_wheelhouse(folder: Path, names: Sequence[str] | None = None) -> Path:
    """Fill a new folder with wheels, `requirements.txt`, `SHA256SUMS` and `install.sh`; gives it. It appears when it is
    complete. `names` are distributions to pack in place of the product with all that it needs.

    Raises InputError where the folder is there already, SiteError where pip brings no wheel of a package."""
    if folder.exists():
        raise InputError(f"{folder} is there already: choose another --bundle FILE, or remove it")
    packages = [*(names or installed(PRODUCT))]
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        _build(partial, packages)
        wheels = sorted(partial.glob("*.whl"))
        sums = {wheel.name: _sha256(wheel) for wheel in wheels}
        lines = [f"{_requirement(name)} --hash=sha256:{digest}\n" for name, digest in sums.items()]
        write_whole(partial / REQUIREMENTS, "".join(lines), 0o644)
        sums[REQUIREMENTS] = _sha256(partial / REQUIREMENTS)
        write_whole(partial / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sums.items()), 0o644)
        version = ".".join(platform.python_version_tuple()[:2])
        script = INSTALL.format(version=version, machine=platform.machine(), sums=SUMS, requirements=REQUIREMENTS)
        write_whole(partial / "install.sh", script, 0o755)
        partial.chmod(0o755)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def installed(root: str) -> list[str]:
    """A distribution and all that it requires, its extras as far as they are installed. Names, normalised, sorted."""
    found: dict[str, Distribution] = {}
    waiting = [root]
    while waiting:
        name = _normal(waiting.pop())
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue  # an extra that is not installed, or a requirement of another platform
        waiting += _required(found[name])
    if not found:
        raise SiteError(f"{root} is not installed here, so that its packages are not known: `pip install -e .` first")
    return sorted(found)


def _required(package: Distribution) -> Iterator[str]:
    for line in package.requires or []:
        match = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line)
        extra = "extra ==" in line
        if match and (not extra or _normal(package.name) == PRODUCT):
            yield match[0]


def _build(folder: Path, names: Iterable[str]) -> None:
    """Bring wheels of what is installed, or build those that the index has as source alone."""
    wanted = [name for name in names if name != PRODUCT]
    pinned = [f"{name}=={distribution(name).version}" for name in wanted]
    _pip(folder, [*pinned])
    if PRODUCT in names:
        with tempfile.TemporaryDirectory(prefix="slurmwright-") as checkout:
            _copy_checkout(Path(checkout))
            _pip(folder, [checkout])


def _copy_checkout(folder: Path) -> None:
    """What a wheel of the product is made from: setuptools writes beside it."""
    if not (ROOT / "pyproject.toml").is_file():
        raise SiteError(f"{ROOT} is no checkout of {PRODUCT}, so that no wheel of it can be built: stage from one")
    for room in ROOMS:
        if (ROOT / room).is_dir():
            shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)


def _pip(folder: Path, what: Sequence[str]) -> None:
    """pip wheel without dependencies. In a folder of its own: `python -m` looks into the present one first."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-input",
        "--disable-pip-version-check",
        "--quiet",
    ]
    command += ["--wheel-dir", str(folder), *what]
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        raise SiteError(f"pip did not bring the wheels within {TIMEOUT / 3600:g} hours") from None
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if "ERROR" in line] or done.stderr.splitlines()[-1:]
        raise SiteError(f"pip cannot bring the wheels of this environment: {said[0].strip() if said else 'no reason'}")


def _requirement(wheel: str) -> str:
    name, version, *_ = wheel.split("-")
    return f"{name}=={version}"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
