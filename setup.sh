#!/usr/bin/env bash
# Builds the virtual environment: setup.sh FOLDER. Needs Python 3.11 or 3.12; as root on Debian or Ubuntu it also
# installs the few system packages that are missing, and says which.
set -euo pipefail
venv=${1:?usage: setup.sh FOLDER}
cd "$(dirname "$0")"

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    echo "setup: Python 3.11 or 3.12 is needed and neither is on the PATH; name one with PYTHON=/path/to/python make setup" >&2
    exit 2
}

# g++ compiles DeepSpeed's CPU kernels at first use; the headers and venv are separate packages on Debian and Ubuntu.
missing_packages() {
    local version
    version=$("$python" -c 'import sys; print(f"{sys.version_info[0]}.{sys.version_info[1]}")')
    command -v g++ >/dev/null || echo g++
    command -v git >/dev/null || echo git
    "$python" -c 'import ensurepip' 2>/dev/null || echo "python$version-venv"
    "$python" -c 'import pathlib, sys, sysconfig
sys.exit(not (pathlib.Path(sysconfig.get_paths()["include"]) / "Python.h").exists())' || echo "python$version-dev"
}

python=$(find_python)
packages=$(missing_packages)
if [ -n "$packages" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "setup: installing system packages:" $packages
        export DEBIAN_FRONTEND=noninteractive
        timeout 300 apt-get update -qq
        # shellcheck disable=SC2086  # one word a package
        timeout 600 apt-get install -y -qq --no-install-recommends $packages >/dev/null
    else
        echo "setup: these system packages are missing, please install them:" $packages >&2
        "$python" -c 'import ensurepip' 2>/dev/null || exit 2
    fi
fi

echo "setup: building $venv with $("$python" --version)"
"$python" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --quiet --disable-pip-version-check "$@"; }
torch=$(grep -E '^torch==' constraints.txt)
echo "setup: installing $torch"
pip install "$torch"
echo "setup: installing the rest of the stack and the development tools"
pip install --constraint constraints.txt --editable .
"$venv/bin/python" - <<'PY' | xargs -d '\n' "$venv/bin/python" -m pip --quiet --disable-pip-version-check install --constraint constraints.txt
import tomllib
from pathlib import Path

print("\n".join(tomllib.loads(Path("pyproject.toml").read_text())["dependency-groups"]["dev"]))
PY
echo "setup: ready"
