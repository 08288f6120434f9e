"""A wheelhouse: what is installed here, installed elsewhere by its own script with no index; nothing that differs."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from launcher.errors import InputError, SiteError
from launcher.wheelhouse import installed, write_wheelhouse

METADATA = "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n"


@pytest.fixture
def carrier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that is installed here, and whose wheel the only index has."""
    about = tmp_path / "site" / "carrier-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(METADATA)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    links = tmp_path / "index"
    links.mkdir()
    with zipfile.ZipFile(links / "carrier-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("carrier.py", "carried = True\n")
        wheel.writestr("carrier-1.0.dist-info/METADATA", METADATA)
        wheel.writestr("carrier-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("carrier-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return links


def install(wheelhouse: Path, venv: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """`sh install.sh VENV` in an environment that names no index."""
    python = str(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")
    return subprocess.run(
        ["sh", str(wheelhouse / "install.sh"), str(venv)],
        env={"PATH": os.environ["PATH"], "PYTHON": python, **environment},
        cwd=wheelhouse.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.train
def test_its_script_makes_an_environment_of_it(carrier: Path, tmp_path: Path) -> None:
    wheelhouse = write_wheelhouse(tmp_path / "x.wheelhouse", ["carrier"])
    names = {path.name for path in wheelhouse.iterdir()}
    assert names == {"carrier-1.0-py3-none-any.whl", "requirements.txt", "SHA256SUMS", "install.sh"}
    assert (wheelhouse / "requirements.txt").read_text().startswith("carrier==1.0 --hash=sha256:")
    (carrier / "carrier-1.0-py3-none-any.whl").unlink()
    done = install(wheelhouse, tmp_path / "venv")
    assert done.returncode == 0, done.stderr
    asked = [str(tmp_path / "venv" / "bin" / "python"), "-c", "import carrier; print(carrier.carried)"]
    assert subprocess.run(asked, capture_output=True, text=True, timeout=180).stdout == "True\n"


def test_a_wheel_that_was_changed_is_not_installed(carrier: Path, tmp_path: Path) -> None:
    wheelhouse = write_wheelhouse(tmp_path / "x.wheelhouse", ["carrier"])
    with (wheelhouse / "carrier-1.0-py3-none-any.whl").open("ab") as wheel:
        wheel.write(b"more")
    done = install(wheelhouse, tmp_path / "venv")
    assert done.returncode != 0
    assert "carrier-1.0-py3-none-any.whl: FAILED" in done.stdout + done.stderr
    assert not (tmp_path / "venv").exists()


def test_another_python_is_refused(carrier: Path, tmp_path: Path) -> None:
    wheelhouse = write_wheelhouse(tmp_path / "x.wheelhouse", ["carrier"])
    (tmp_path / "other").write_text("#!/bin/sh\necho 3.9 s390x\n")
    (tmp_path / "other").chmod(0o755)
    done = install(wheelhouse, tmp_path / "venv", PYTHON=str(tmp_path / "other"))
    assert done.returncode == 2
    assert "is 3.9 s390x: name another with PYTHON=" in done.stderr


def test_nothing_half_stays_where_a_wheel_cannot_be_had(carrier: Path, tmp_path: Path) -> None:
    (carrier / "carrier-1.0-py3-none-any.whl").unlink()
    with pytest.raises(SiteError, match=r"pip cannot bring the wheels of this environment: ERROR.*carrier==1\.0"):
        write_wheelhouse(tmp_path / "x.wheelhouse", ["carrier"])
    assert not list(tmp_path.glob("*wheelhouse*"))
    (tmp_path / "x.wheelhouse").mkdir()
    with pytest.raises(InputError, match="is there already"):
        write_wheelhouse(tmp_path / "x.wheelhouse", ["carrier"])


def test_the_product_needs_what_it_is_built_on() -> None:
    found = installed("slurmwright")
    assert {"slurmwright", "torch", "trl", "hydra-core", "safetensors", "huggingface-hub"} <= set(found)
    assert "pytest" not in found
