"""The verb `import`: where the recipe goes, what is printed, exit codes, and what is never overwritten."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from launcher import ROOT
from launcher.cli import main

GOOD = """base_model: NousResearch/Llama-3.2-1B
datasets:
  - path: a/b
    type: alpaca
micro_batch_size: 1
learning_rate: 2e-5
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "axolotl.yml"
    file.write_text(GOOD)
    return file


def test_the_recipe_goes_to_stdout_and_the_report_to_stderr(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(recipe)]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("# @package _global_\n# Imported from the Axolotl recipe axolotl.yml.\ndefaults:\n")
    assert "learning_rate: 2.0e-05" in said.out
    assert "1: base_model: NousResearch/Llama-3.2-1B -> model=llama3_2_1b, model.id" in said.err
    assert "run it: python -m launcher recipe=RECIPE.yaml +cluster=1xh100" in said.err


def test_a_file_is_written_and_never_overwritten(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(recipe), "-o", "new.yaml"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "run it: python -m launcher recipe=new.yaml +cluster=1xh100" in said.err
    written = Path("new.yaml").read_text()
    assert main(["import", str(recipe), "-o", "new.yaml"]) == 0
    assert "is there already, with the same recipe" in capsys.readouterr().err
    recipe.write_text(GOOD + "seed: 3\n")
    assert main(["import", str(recipe), "-o", "new.yaml"]) == 2
    assert "is there already with other contents" in capsys.readouterr().err
    assert Path("new.yaml").read_text() == written
    assert main(["import", str(recipe), "-o", "nowhere/new.yaml"]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_what_is_not_supported_stops_it_unless_partial(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe.write_text(GOOD + "fp8: true\noptimizer: dion\n")
    assert main(["import", str(recipe), "-o", "new.yaml"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and not Path("new.yaml").exists()
    assert "error: 2 keys of the recipe cannot be taken over: fp8, optimizer." in said.err
    assert main(["import", str(recipe), "-o", "new.yaml", "--partial"]) == 0
    assert "left out: fp8, optimizer" in capsys.readouterr().err
    written = Path("new.yaml").read_text()
    assert "# Left out, since there is nothing like it here:\n#   fp8\n#   optimizer\n" in written
    assert "optimizer:" not in written.partition("defaults:")[2]


def test_rows_that_cannot_be_taken_are_asked_for(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A partial recipe never trains on other rows than those that were meant."""
    recipe.write_text(GOOD.replace("type: alpaca", "type: own_module.load"))
    assert main(["import", str(recipe), "--partial", "-o", "new.yaml"]) == 0
    capsys.readouterr()
    assert main(["plan", "recipe=new.yaml", "+cluster=1xh100"]) == 2
    assert "data.path" in capsys.readouterr().err


def test_one_json_document(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(recipe), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {
        "recipe", "recipe_file", "command", "exit_code", "keys", "counts", "effective", "warnings",
    }  # fmt: skip
    assert document["recipe_file"] is None
    assert document["counts"]["mapped"] == sum(record["status"] == "mapped" for record in document["keys"])
    assert {"key": "learning_rate", "value": 2e-05, "line": 6, "status": "mapped", "to": "method.learning_rate",
            "why": None} in document["keys"]  # fmt: skip
    assert document["effective"]["datasets"] == [
        {"source": "hub", "path": "a/b", "format": "prompt", "prompt": "alpaca"}
    ]


def test_mistakes_in_words(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import"]) == 2
    assert "required: FILE" in capsys.readouterr().err
    assert main(["import", "none.yml"]) == 2
    assert "none.yml: there is no such file" in capsys.readouterr().err
    assert main(["import", str(recipe), "--force"]) == 2
    recipe.write_text("a: 1\na: 2\n")
    assert main(["import", str(recipe), "--json"]) == 2
    assert "a stands twice" in json.loads(capsys.readouterr().out)["error"]


def test_files_beside_the_recipe_are_read(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "deep"
    folder.mkdir()
    (folder / "ds.json").write_text('{"zero_optimization": {"stage": 1}}')
    (folder / "own.jinja").write_text("{{ messages }}")
    (folder / "rows").mkdir()
    text = GOOD.replace("path: a/b", "path: rows").replace("type: alpaca", "type: chat_template")
    (folder / "r.yml").write_text(text + "deepspeed: ds.json\nchat_template_jinja: own.jinja\n")
    assert main(["import", "deep/r.yml", "--json"]) == 0
    recipe_ = json.loads(capsys.readouterr().out)["recipe"]
    assert recipe_["parallel"]["strategy"] == "zero1"
    assert recipe_["model"]["chat_template"] == "{{ messages }}"
    assert recipe_["data"]["source"] == "file"


def test_text_cannot_steer_the_terminal(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe.write_text(GOOD + 'wandb_project: "a\\e[31mb"\n')
    assert main(["import", str(recipe)]) == 0
    assert "\x1b" not in capsys.readouterr().err


def test_the_verb_imports_no_training_library(recipe: Path) -> None:
    code = (
        "import sys; from launcher.cli import main; main(['import', sys.argv[1]]); "
        "sys.exit(bool({'torch', 'transformers', 'peft', 'datasets', 'accelerate', 'trl'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code, str(recipe)], env=environment, capture_output=True, timeout=180)
    assert done.returncode == 0, done.stderr
