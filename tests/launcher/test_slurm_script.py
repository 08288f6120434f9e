"""The batch script: its exact text, and that nothing in it or beside it is ever read as code."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conf.folder import RunFolder
from launcher.slurm.executor import escape
from launcher.slurm.script import arguments, command, render
from tests.launcher.folders import config, run

GOLDEN = Path(__file__).parent / "golden"
H100: dict[str, Any] = {"gpu": {"type": "h100", "device": "cuda"}, "cluster": {"nodes": 2, "devices_per_node": 8}}
HOSTILE = """it's "x" \\ $(touch pwned) `touch pwned` #no ;touch pwned & $HOME"""
CASES: dict[str, dict[str, Any]] = {
    "two_nodes": H100,
    "everything": {
        **H100,
        "site": {
            "partition": "gpu,long", "account": "physics", "qos": "high", "constraint": "ib&h100",
            "exclude": "gpu[001-003]", "nodelist": "gpu[010-011]", "reservation": "course", "mem": "0",
            "cpus_per_task": 64, "exclusive": True, "mail": "a@b.org", "begin": "now+1hour",
            "dependency": "afterok:12", "gpu_request": "gpus_per_node",
            "sbatch": {"comment": "long one", "nice": 100, "contiguous": True, "mem-bind": None, "hold": False},
            "modules": ["cuda/12.4", "nccl"], "environment": {"NCCL_SOCKET_IFNAME": "ib0"},
            "setup": ["ulimit -n 65535", 'test -d "$SCRATCH" || exit 3'], "srun": ["--network=sn_all"],
        },
    },
    "pyxis": {
        **H100, "site": {"container": {"kind": "pyxis", "image": "/images/a b.sqsh", "mounts": ["/data:/data"]}},
    },
    "apptainer": {
        **H100, "site": {"container": {"kind": "apptainer", "image": "/images/a b.sif", "mounts": ["/data:/data"]}},
    },
    "hostile": {
        "cluster": {"nodes": 1},
        "site": {
            "partition": HOSTILE, "mem": HOSTILE, "sbatch": {"comment": HOSTILE}, "modules": [HOSTILE],
            "environment": {"X": HOSTILE}, "srun": [HOSTILE],
        },
    },
    "here": {**H100, "cluster": {"kind": "here", "nodes": 2, "devices_per_node": 8}},
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_exact_text(case: str, tmp_path: Path) -> None:
    text = render(config(**CASES[case]), RunFolder(tmp_path / "mine"))
    golden = GOLDEN / f"{case}.sbatch"
    if os.environ.get("SLURMWRIGHT_WRITE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text(), "if this is meant: SLURMWRIGHT_WRITE_GOLDEN=1 writes it anew"


@pytest.mark.parametrize("case", CASES)
def test_bash_can_read_it(case: str, tmp_path: Path) -> None:
    text = render(config(**CASES[case]), RunFolder(tmp_path / "mine"))
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stderr) == (0, "")


def test_it_needs_no_slurm_and_knows_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("HOME", "/home/somebody")
    one = render(config(**H100), RunFolder(tmp_path / "one" / "mine"))
    monkeypatch.setenv("HOME", "/home/else")
    assert render(config(**H100), RunFolder(tmp_path / "two" / "mine")) == one
    for place in (str(tmp_path), "/home", sys.executable):
        assert place not in one


def test_its_place_is_given_to_sbatch() -> None:
    folder = RunFolder("/r u$n/100%/mine")
    line = command(config(store={"root": "/st ore"}, site={"python": "/opt/py"}), folder, "afterok:7")
    assert line == [
        "sbatch", "--parsable", "--dependency=afterok:7", "--chdir=/r u$n/100%/mine/code",
        "--output=/r u$n/100%%/mine/attempts/slurm-%j.log", "/r u$n/100%/mine/job.sbatch",
        "/r u$n/100%/mine", "/opt/py", "/st ore",
    ]  # fmt: skip


def test_a_container_has_a_python_of_its_own() -> None:
    image = {"container": {"kind": "pyxis", "image": "x"}}
    assert arguments(config(site=image), RunFolder("/r/mine"))[1] == "python3"
    assert arguments(config(), RunFolder("/r/mine"))[1] == sys.executable


def test_a_backslash_survives_sbatch() -> None:
    assert escape("a\\b") == "a\\\\b"
    assert escape(True) is True


FAKE_SRUN = """#!{python}
import json, os, sys
wanted = {{name: value for name, value in os.environ.items() if name.startswith(("PYTHON", "SLURM", "X", "NCCL"))}}
print(json.dumps({{"argv": sys.argv[1:], "env": wanted, "cwd": os.getcwd()}}))
"""


def execute(folder: RunFolder, text: str, tmp_path: Path, **env: str) -> dict[str, Any]:
    """Run a script by bash, with an srun that tells what it was given."""
    programs = tmp_path / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "srun").write_text(FAKE_SRUN.format(python=sys.executable))
    (programs / "srun").chmod(0o755)
    folder.script.write_text(text)
    done = subprocess.run(
        ["bash", str(folder.script), str(folder.path), "/py thon", "/store"],
        cwd=folder.code,
        env={"PATH": f"{programs}:/usr/bin:/bin", **env},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def test_hostile_values_arrive_as_they_are(tmp_path: Path) -> None:
    folder = run(tmp_path / "r 'u' $(touch pwned) \"n\"", "mine")
    hostile = {"environment": {"X": HOSTILE}, "srun": [HOSTILE]}
    told = execute(folder, render(config(site=hostile), folder), tmp_path)
    assert told["env"]["X"] == HOSTILE
    assert HOSTILE in told["argv"]
    assert told["argv"][-5:] == ["/py thon", "-m", "trainer", "agent", str(folder.path)]
    assert f"--chdir={folder.code}" in told["argv"]
    assert not list(tmp_path.rglob("pwned"))


def test_a_hostile_module_is_one_word_for_module(tmp_path: Path) -> None:
    folder = run(tmp_path)
    define = 'module() { export X_LOADED="$2"; }; export -f module; exec bash "$@"'
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "srun").write_text(FAKE_SRUN.format(python=sys.executable))
    (tmp_path / "bin" / "srun").chmod(0o755)
    folder.script.write_text(render(config(site={"modules": [HOSTILE]}), folder))
    done = subprocess.run(
        ["bash", "-c", define, "bash", str(folder.script), str(folder.path), "py", "/store"],
        cwd=folder.code,
        env={"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert json.loads(done.stdout)["env"]["X_LOADED"] == HOSTILE
    assert not list(tmp_path.rglob("pwned"))


def test_each_start_takes_the_first_free_attempt(tmp_path: Path) -> None:
    folder = run(tmp_path)
    text = render(config(), folder)
    numbers = [execute(folder, text, tmp_path)["env"]["SLURMWRIGHT_ATTEMPT"] for _ in range(3)]
    assert numbers == ["1", "2", "3"]
    assert folder.attempt_numbers() == [1, 2, 3]
    assert folder.attempt_folder(1).stat().st_mode & 0o777 == 0o700


def test_the_agent_gets_the_runs_code_and_the_whole_environment(tmp_path: Path) -> None:
    folder = run(tmp_path)
    env = execute(folder, render(config(), folder), tmp_path, PYTHONPATH="/else", SLURM_EXPORT_ENV="NONE")["env"]
    assert env["PYTHONPATH"] == str(folder.code)
    assert env["PYTHONSAFEPATH"] == "1"
    assert env["SLURM_EXPORT_ENV"] == "ALL"


def test_cpus_are_told_to_srun_too(tmp_path: Path) -> None:
    folder = run(tmp_path)
    told = execute(folder, render(config(site={"cpus_per_task": 6}), folder), tmp_path)
    assert "--cpus-per-task=6" in told["argv"]


def test_a_site_line_sees_no_arguments_of_ours(tmp_path: Path) -> None:
    """`source activate` would take them for its own."""
    folder = run(tmp_path)
    told = execute(folder, render(config(site={"setup": ['export X_COUNT="$#"']}), folder), tmp_path)
    assert told["env"]["X_COUNT"] == "0"


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    folder = run(tmp_path)
    folder.attempts.rmdir()
    folder.script.write_text(render(config(), folder))
    done = subprocess.run(
        ["bash", str(folder.script), str(folder.path), "py", "s"], capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 1
    assert "cannot write" in done.stderr


def test_it_says_how_to_submit_it_by_hand(tmp_path: Path) -> None:
    done = subprocess.run(["bash"], input=render(config(), run(tmp_path)), capture_output=True, text=True, timeout=180)
    assert done.returncode == 2
    assert "usage: sbatch --chdir=RUN/code" in done.stderr
