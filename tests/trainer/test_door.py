"""`python -m trainer`: its verbs, and how little it imports."""

import subprocess
import sys

import pytest

from tests.trainer.agents import REPOSITORY


def trainer(*argv: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "trainer", *argv]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=180)


def test_help_names_the_verbs() -> None:
    done = trainer("--help")
    assert done.returncode == 0
    assert all(verb in done.stdout for verb in ("agent", "worker", "prepare", "show-data", "chat"))


@pytest.mark.parametrize(("typed", "meant"), [("agnet", "agent"), ("show_data", "show-data"), ("prepair", "prepare")])
def test_an_unknown_verb_is_met_with_the_nearest(typed: str, meant: str) -> None:
    done = trainer(typed)
    assert done.returncode == 2
    assert f"'{typed}'" in done.stderr and f"did you mean {meant}" in done.stderr and "Traceback" not in done.stderr


def test_no_verb_is_wrong_input() -> None:
    assert trainer().returncode == 2


def test_agent_wants_a_run_folder() -> None:
    done = trainer("agent", "/nowhere/run")
    assert done.returncode == 2 and "no run folder" in done.stderr


def test_the_agent_imports_no_training_stack() -> None:
    code = (
        "import sys, trainer.agent; "
        "print(sorted({'torch', 'transformers', 'hydra', 'numpy', 'asyncio', 'submitit'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=180)
    assert done.stdout.strip() == "[]", done.stderr
