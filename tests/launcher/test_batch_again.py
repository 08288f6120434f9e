"""The end of the batch script, where agents cannot call Slurm: it asks for the next attempt itself."""

import os
import subprocess
from pathlib import Path

import pytest

from conf.folder import RunFolder
from launcher.slurm.script import render
from tests.launcher.folders import config, run


def finish(tmp_path: Path, way: str, scontrol: str) -> tuple[RunFolder, list[str]]:
    """Run a script whose agents ask by the file `again`; the calls of scontrol and sbatch."""
    folder = run(tmp_path)
    programs = tmp_path / "bin"
    programs.mkdir()
    ask = f'echo "{way}" >"$SLURMWRIGHT_RUN/attempts/0001/again"; exit 143'
    for name, lines in (("srun", ask), ("scontrol", scontrol), ("sbatch", "echo '78;alps'"), ("sleep", "exit 0")):
        note = "" if name in ("srun", "sleep") else f"echo {name} \"$*\" >>'{tmp_path}/calls'\n"
        (programs / name).write_text(f"#!/bin/bash\n{note}{lines}\n")
        (programs / name).chmod(0o755)
    folder.script.write_text(render(config(cluster={"nodes": 1}), folder))
    environ = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "SLURM_JOB_ID": "77", "CALLS": str(tmp_path)}
    done = subprocess.run(
        ["bash", str(folder.script), str(folder.path), "/usr/bin/python3", "/store"], env=environ, timeout=60,
    )  # fmt: skip
    assert done.returncode == 143
    return folder, (tmp_path / "calls").read_text().splitlines()


def chained(folder: RunFolder) -> list[tuple[str, int]]:
    return [(line["job_id"], line["attempt"]) for line in folder.events() if line["event"] == "submitted"]


def test_a_controller_that_is_away_is_asked_again(tmp_path: Path) -> None:
    away = "[ $(grep -c requeue \"$CALLS/calls\") -ge 3 ] || { echo 'Unexpected message received' >&2; exit 1; }"
    folder, calls = finish(tmp_path, "requeue", away)
    assert calls == ["scontrol requeue 77"] * 3 and not chained(folder)


@pytest.mark.parametrize("way", ["not known", "requeue"])
def test_one_that_refuses_is_asked_for_a_job_after_this_one(tmp_path: Path, way: str) -> None:
    folder, calls = finish(tmp_path, way, "echo 'Requested operation is presently disabled' >&2; exit 1")
    assert [call.split()[0] for call in calls] == ["scontrol", "sbatch"]
    assert chained(folder) == [("78", 2)]


def test_a_site_that_forbids_requeues_is_not_asked_for_one(tmp_path: Path) -> None:
    folder, [call] = finish(tmp_path, "singleton chain", "exit 0")
    assert "--dependency=singleton" in call
    assert call.endswith(f"{folder.script} {folder.path} /usr/bin/python3 /store")
    assert chained(folder) == [("78", 2)]


def test_a_job_that_waits_already_is_left_alone(tmp_path: Path) -> None:
    folder, calls = finish(tmp_path, "requeue", "echo 'Job is pending execution' >&2; exit 1")
    assert calls == ["scontrol requeue 77"] and not chained(folder)
