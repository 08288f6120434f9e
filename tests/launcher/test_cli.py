"""The command as people type it: verbs, help, exit codes, JSON, Hydra's own flags, folders with names like ours."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from launcher import ROOT, cli
from launcher.cli import main

GOOD = ["model=smollm2_135m", "cluster=8xh100"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLURMWRIGHT_CONFIG_DIR", raising=False)
    monkeypatch.delenv("SLURMWRIGHT_TRACEBACK", raising=False)


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m launcher` as a process, from a folder."""
    return subprocess.run(
        [sys.executable, "-m", "launcher", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert main([]) == 0
    said = capsys.readouterr().out
    assert all(f"  {verb} " in said for verb in cli.VERBS)


@pytest.mark.parametrize("verb", list(cli.VERBS))
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        assert main([verb, "--help"]) == 0
    except SystemExit as end:
        assert end.code == 0
    assert f"launcher {verb}" in capsys.readouterr().out.replace("[submit]", "submit")


def test_an_unknown_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plann", *GOOD]) == 2
    assert "did you mean plan" in capsys.readouterr().err


def test_all_problems_in_one_report_without_a_traceback(tmp_path: Path) -> None:
    done = run(tmp_path, "+modell=x", "adapter.rr=4", "model=lama3_8b", "adapter.r=big", "+cluster=local")
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0] == "4 problems:"
    assert [line.split()[0] for line in lines[1:]] == ["adapter.r", "adapter.rr", "model", "modell"]
    assert not list(tmp_path.iterdir())


def test_problems_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--json", *GOOD, "adapter.rr=4"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["exit_code"] == 2
    assert [(problem["rule"], problem["field"]) for problem in document["problems"]] == [("schema", "adapter.rr")]
    assert main(["plann", "--json"]) == 2
    assert "did you mean plan" in json.loads(capsys.readouterr().out)["error"]


@pytest.mark.parametrize("line", [["-m", *GOOD], [*GOOD, "--multirun"], [GOOD[0], "-m", GOOD[1], "adapter.r=4,8"]])
def test_a_multirun_is_planned_by_another_room(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *line]) == 0
    assert "-sweep-" in capsys.readouterr().out
    assert main(["data", *line]) == 2
    assert "takes one" in capsys.readouterr().err


def test_what_was_typed_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *GOOD, "name=\x1b[31mred\nnext"]) == 2
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert len(said.splitlines()) == 2


def test_a_bug_shows_where_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(_words: object) -> int:
        raise ZeroDivisionError("broken")

    monkeypatch.setattr("launcher.plan.main", broken)
    assert main(["plan"]) == 1
    said = capsys.readouterr().err
    assert "ZeroDivisionError: broken" in said
    assert "bug in Slurmwright" in said


def test_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_words: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("launcher.plan.main", interrupted)
    assert main(["plan"]) == 130


def test_a_traceback_on_demand(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SLURMWRIGHT_TRACEBACK", "1")
    assert main(["plann"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_hydra_shows_the_composed_job(tmp_path: Path) -> None:
    done = run(tmp_path, "+model=smollm2_135m", "cluster=2x8xh100", "--cfg", "job", "model.wheel.file=y")
    assert done.returncode == 0, done.stderr
    assert "nodes: 2" in done.stdout
    assert "file: 'y'" in done.stdout
    assert not list(tmp_path.iterdir())


def test_hydra_is_not_asked_what_the_schema_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--cfg", "job", *GOOD, "adapter.rr=4"]) == 2
    assert "did you mean adapter.r?" in capsys.readouterr().err


def test_hydra_tells_where_it_looks(tmp_path: Path) -> None:
    done = run(tmp_path, "--info", "searchpath", *GOOD, "--config-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert f"{ROOT}/conf" in done.stdout
    assert f"file://{tmp_path}" in done.stdout


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("python -m launcher model=smollm2_135", "model=smollm2_135m"),
        ("slurmwright plan +cluster=local +model=smollm2_135", "+model=smollm2_135m"),
    ],
)
def test_tab_completion(typed: str, offered: str, tmp_path: Path) -> None:
    done = run(tmp_path, "-sc", "query=bash", COMP_LINE=typed, COMP_POINT=str(len(typed)))
    assert done.stdout.split() == [offered]


def test_from_a_folder_with_packages_called_like_ours(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    for name in ("conf/__init__.py", "trainer.py", "yaml.py", "rich.py"):
        (tmp_path / name).write_text("raise SystemExit('not ours')\n")
    (tmp_path / "conf" / "config.yaml").write_text("not: ours\n")
    done = run(tmp_path, "plan", *GOOD, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["world_size"] == 8
    (tmp_path / "only" / "conf").mkdir(parents=True)
    (tmp_path / "only" / "conf" / "__init__.py").write_text("raise SystemExit('not ours')\n")
    shadowed = run(tmp_path, "plan", *GOOD, "--json", PYTHONPATH=f"{tmp_path / 'only'}{os.pathsep}{ROOT}")
    assert shadowed.returncode == 0, shadowed.stderr


def test_the_training_stack_is_never_imported() -> None:
    program = """
import sys
from launcher.cli import main
code = main(["plan", "model=llama3_8b", "cluster=8xh100", "--json"])
heavy = {"torch", "transformers", "trl", "peft", "datasets", "accelerate", "numpy"} & sys.modules.keys()
sys.exit(str(heavy) if heavy else code)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_leaves_is_no_error() -> None:
    pipe = f"{sys.executable} -m launcher --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", pipe], cwd=ROOT, capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stderr) == (0, "")
