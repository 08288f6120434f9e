"""`explain`: each field, group, option and rule can be asked for, and what is said is true of schema and files."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conf.schema.fields import fields, group_of, item_fields, item_of
from conf.schema.identity import identity_fields
from conf.schema.rules.registry import RULES
from launcher import ROOT
from launcher.cli import main
from launcher.explain import explain
from launcher.options import groups, options

VALUES = [path for path, info in fields().items() if not group_of(info.annotation) and not item_of(info.annotation)]


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["explain", *words]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_a_field_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    said = asked(capsys, "adapter.bits")
    assert said.startswith("adapter.bits Frozen weights rest in this many bits")
    assert "allowed 4, 8, null" in said
    assert "default null" in said
    assert "identity yes: another value is another run" in said
    assert "conf/adapter/qlora.yaml 4" in said
    assert "quantised-full error: quantised weights have no gradients" in said
    assert "None" not in said


@pytest.mark.parametrize("path", [*VALUES, *item_fields()])
def test_every_field_can_be_explained(path: str) -> None:
    said = explain(path)
    assert (said["kind"], said["field"]) == ("field", path)
    assert len(said["says"]) > 8 and said["type"] and "typing." not in said["type"] and "<class" not in said["type"]
    json.dumps(said)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("adapter.r", "whole number above 0"),
        ("batch.global", "whole number above 0, or null"),
        ("adapter.dropout", "number from 0 and below 1"),
        ("adapter.layers", "list of whole numbers from 0, or null"),
        ("model.id", "text"),
        ("model.revision", "text or null"),
        ("run.root", "text that is not empty"),
        ("offline", "true or false"),
        ("site.environment", "mapping of texts to texts"),
        ("adapter.bits", "one of 4, 8, or null"),
        ("data.sets[].limit", "whole number above 0, or null"),
    ],
)
def test_types_in_words(path: str, words: str) -> None:
    assert explain(path)["type"] == words


def test_identity_is_that_of_the_runs_name() -> None:
    said = {path: explain(path)["identity"] for path in VALUES}
    assert {path for path in VALUES if said[path]} == {path for path in identity_fields() if path in said}
    assert explain("adapter")["identity"] and explain("data.sets")["identity"] and not explain("cluster")["identity"]
    assert not said["cluster.time"] and not said["model.architecture.hidden_size"] and said["adapter.r"]


def test_the_files_that_set_a_field_and_the_rules_that_read_it() -> None:
    said = explain("adapter.bits")
    assert {"option": "adapter=qlora", "file": "conf/adapter/qlora.yaml", "value": 4} in said["set_by"]
    (rule,) = [rule for rule in said["rules"] if rule["id"] == "quantised-full"]
    assert rule["severity"] == "error" and "adapter.bits" in rule["reads"] and rule["fix"]
    assert {entry["option"] for entry in explain("method.optimizer")["set_by"]} >= {"recipe=qlora_8b_single_gpu"}


def test_a_field_that_many_options_set_is_cut_short_for_people_alone(capsys: pytest.CaptureFixture[str]) -> None:
    said = asked(capsys, "model.architecture.hidden_size")
    assert "more: --json lists all" in said
    assert main(["explain", "--json", "model.architecture.hidden_size"]) == 0
    assert len(json.loads(capsys.readouterr().out)["set_by"]) == len(options("model")) - 1


def test_a_group(capsys: pytest.CaptureFixture[str]) -> None:
    said = asked(capsys, "adapter")
    assert "default: adapter=lora" in said
    assert "dropout Dropout probability on the adapter's input" in said
    assert "adapter=qlora LoRA beside weights that rest in 4-bit NF4" in said
    assert "a run must choose one" in asked(capsys, "model")
    assert "recipe=full_70b Every weight of" in asked(capsys, "recipe")


@pytest.mark.parametrize("path", [path for path in fields() if path not in VALUES])
def test_every_set_of_fields_lists_its_fields(path: str) -> None:
    said = explain(path)
    item = item_of(fields()[path].annotation)
    held = item or group_of(fields()[path].annotation)
    assert held is not None
    head = f"{path}[]." if item else f"{path}."
    assert [entry["field"] for entry in said["fields"]] == [
        head + (info.alias or name) for name, info in held.model_fields.items()
    ]


@pytest.mark.parametrize("word", ["data.sets[].path", "data.sets[0].path", "data.sets.0.path", "data.sets.path"])
def test_a_field_of_the_items_of_a_list(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(capsys, word).startswith("data.sets[].path ")
    assert explain("data.sets")["list"]


@pytest.mark.parametrize("group", list(groups()))
def test_every_option_can_be_explained(group: str) -> None:
    for name in options(group):
        said = explain(f"{group}={name}")
        assert said["says"] and (ROOT / said["file"]).is_file()
        assert all(path in fields() for path in said["sets"])


def test_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    said = asked(capsys, "+cluster=2x8xh100")
    assert said.startswith("cluster=8xh100 One node with 8 H100.")
    assert "chooses gpu=h100" in said
    assert "cluster.nodes 2" in said
    assert "adapter.bits 4" in asked(capsys, "adapter=qlora")


@pytest.mark.parametrize("rule", list(RULES))
def test_every_rule_can_be_explained(rule: str) -> None:
    said: dict[str, Any] = explain(rule)["rule"]
    assert said["id"] == rule and said["reason"] and said["fix"]


def test_a_rule_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    said = asked(capsys, "batch-arithmetic")
    assert said.startswith("batch-arithmetic (error) the global batch is what the user says")
    assert "reads batch.global, batch.micro" in said


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("adaptor.r", "did you mean adapter.r?"),
        ("adapter.rr", "did you mean adapter.r?"),
        ("data.sets.pth", "data.sets"),
        ("learning_rate", "method.learning_rate"),
        ("modell", "did you mean model"),
        ("qlora", "did you mean adapter=qlora?"),
        ("qlorra", "did you mean adapter=qlora?"),
        ("batch-arithmetik", "did you mean batch-arithmetic?"),
        ("adapter=qlorra", "did you mean qlora"),
        ("adaptor=qlora", "did you mean adapter?"),
        ("batch=4", "explain batch"),
        ("zzzzzz", "explain a field"),
        ("", "explain a field"),
    ],
)
def test_what_is_not_known(word: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--json", word]) == 2
    assert says in json.loads(capsys.readouterr().out)["error"]


def test_it_takes_one_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain"]) == 2
    assert main(["explain", "adapter", "model"]) == 2
    assert "catalogue" in capsys.readouterr().err


def test_options_of_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")  # the path is long, and would be broken into lines
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "ours.yaml").write_text("# Our site.\npartition: gpu\n")
    assert "site=ours Our site." in asked(capsys, "site", "--config-dir", str(tmp_path))
    assert f"{tmp_path}/site/ours.yaml gpu" in asked(capsys, "site.partition", "--config-dir", str(tmp_path))
    (tmp_path / "site" / "ours.yaml").write_text("name: [\n")
    assert main(["explain", "site.partition", "--config-dir", str(tmp_path)]) == 0


@pytest.mark.parametrize("words", [["explain", "adapter.r"], ["schema"], ["catalogue"]])
def test_nothing_heavy_is_imported(words: list[str]) -> None:
    program = f"""
import sys
from launcher.cli import main
code = main({words!r})
heavy = {{"torch", "transformers", "trl", "peft", "datasets", "accelerate", "numpy"}} & sys.modules.keys()
sys.exit(str(heavy) if heavy else code)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
