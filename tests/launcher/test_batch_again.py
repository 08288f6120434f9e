"""The end of the batch script, where agents cannot call Slurm: it asks for the next attempt itself."""

import os
import subprocess
from pathlib import Path

import pytest

from conf.folder import RunFolder
from launcher.slurm.script import render
from sweeps.folder import SweepFolder
from sweeps.shapes import Shapes
from tests.launcher.folders import config, run


def finish(tmp_path: Path, way: str, scontrol: str, array: bool = False) -> tuple[RunFolder, list[str]]:
    """Run a script whose agents ask by the file `again`; the calls of scontrol and sbatch.

    `array`: that of a sweep, for the second element of its first array."""
    folder = run(tmp_path)
    programs = tmp_path / "bin"
    programs.mkdir()
    ask = f'echo "{way}" >"$SLURMWRIGHT_RUN/attempts/0001/again"; exit 143'
    for name, lines in (("srun", ask), ("scontrol", scontrol), ("sbatch", "echo '78;alps'"), ("sleep", "exit 0")):
        note = "" if name in ("srun", "sleep") else f"echo {name} \"$*\" >>'{tmp_path}/calls'\n"
        (programs / name).write_text(f"#!/bin/bash\n{note}{lines}\n")
        (programs / name).chmod(0o755)
    environ = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "SLURM_JOB_ID": "77", "CALLS": str(tmp_path)}
    place = [str(folder.path)]
    script, text = folder.script, render(config(cluster={"nodes": 1}), folder)
    if array:
        sweep = SweepFolder(tmp_path / "sweep")
        sweep.chunks.mkdir(parents=True)
        sweep.chunk_file(1).write_text(f"{tmp_path}/another\n{folder.path}\n")
        environ |= {"SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "2"}
        place = [str(sweep.path), str(sweep.chunk_file(1))]
        shapes = Shapes()
        shapes.index(config(cluster={"nodes": 1}))
        script, text = sweep.chunk_script(1), shapes.found[0].script(RunFolder(sweep.path), "sweep.0001")
    script.write_text(text)
    done = subprocess.run(["bash", str(script), *place, "/usr/bin/python3", "/store"], env=environ, timeout=180)
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


def test_a_trial_of_an_array_is_submitted_by_its_number(tmp_path: Path) -> None:
    folder, [call] = finish(tmp_path, "singleton chain", "exit 0", array=True)
    chunk = tmp_path / "sweep" / "chunks" / "0001"
    assert call == (
        f"sbatch --parsable --array=2 --dependency=afterany:70_2 --chdir={tmp_path}/sweep "
        f"--output={chunk}/%a/slurm-%A_%a.log {chunk}.sbatch {tmp_path}/sweep {chunk}.txt /usr/bin/python3 /store"
    )
    assert chained(folder) == [("78_2", 2)]


def test_a_trial_of_an_array_is_requeued_alone(tmp_path: Path) -> None:
    folder, calls = finish(tmp_path, "requeue", "exit 0", array=True)
    assert calls == ["scontrol requeue 70_2"] and not chained(folder)


def test_a_job_that_waits_already_is_left_alone(tmp_path: Path) -> None:
    folder, calls = finish(tmp_path, "requeue", "echo 'Job is pending execution' >&2; exit 1")
    assert calls == ["scontrol requeue 77"] and not chained(folder)


@pytest.mark.parametrize("code", [0, 3, 127])
def test_the_code_of_a_step_that_is_over_at_once_is_kept(tmp_path: Path, code: int) -> None:
    """The shell looks after it only when it is gone."""
    folder, programs = run(tmp_path), tmp_path / "bin"
    programs.mkdir()
    (programs / "srun").write_text(f"#!/bin/bash\nexit {code}\n")
    (programs / "srun").chmod(0o755)
    text = render(config(cluster={"nodes": 1}), folder)
    late = text.replace(
        "SLURMWRIGHT_STEP=$!\n", "SLURMWRIGHT_STEP=$!\nuntil ! kill -0 $SLURMWRIGHT_STEP; do sleep 0.1; done\n"
    )
    assert late != text
    folder.script.write_text(late)
    environ = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "SLURM_JOB_ID": "77"}
    command = ["bash", str(folder.script), str(folder.path), "/usr/bin/python3", "/store"]
    assert subprocess.run(command, env=environ, timeout=180, capture_output=True).returncode == code
