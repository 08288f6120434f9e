"""`catalogue`: all groups and options with a line each, the facts of models and devices, and the page in docs/."""

import json
from pathlib import Path
from typing import Any

import pytest

from conf.schema.model import ModelConfig
from launcher import ROOT, catalogue_pages
from launcher.catalogue import catalogue
from launcher.cli import main
from launcher.entries import entries
from launcher.options import groups, options


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["catalogue", *words]) == 0
    return capsys.readouterr().out


def test_the_page_in_docs_is_up_to_date(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURMWRIGHT_CONFIG_DIR", raising=False)
    page = (ROOT / "docs" / "catalogue.md").read_text(encoding="utf-8")
    assert page == printed(capsys, "--markdown"), "type `make catalogue`"


def test_every_option_has_a_line_that_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys).splitlines()
    for group in groups():
        for entry in entries(group):
            assert len(entry.says) > 3, entry.file
            assert any(line.split()[:1] == [entry.name] and entry.says in line for line in lines), entry.file
    assert all(len(line) == len(line.rstrip()) for line in lines)


def test_a_groups_own_list(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "adapter").splitlines()
    assert lines[0] == "adapter  (default: lora)"
    assert [line.split()[0] for line in lines[1:]] == options("adapter")
    assert printed(capsys, "cluster").startswith("cluster  (a run must choose one)")
    assert printed(capsys, "recipe").startswith("recipe  (none is chosen by default)")


def test_models_with_their_facts(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "model").splitlines()
    (line,) = [line for line in lines if line.split()[0] == "llama3_8b"]
    for fact in (
        "8.03 G",
        "8192",
        "gated",
        "Llama 3 Community License",
        "Llama 3 8B Instruct",
        "https://huggingface.co",
    ):
        assert fact in line


def test_devices_with_their_facts(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = [line for line in printed(capsys, "gpu").splitlines() if line.split()[0] == "h100"]
    for fact in ("79.64 GiB", "989.4 Tflop/s", "3350 GB/s", "9.0", "https://www.nvidia.com"):
        assert fact in line


def test_facts_are_those_of_the_files(capsys: pytest.CaptureFixture[str]) -> None:
    (group,) = json.loads(printed(capsys, "model", "--json"))["groups"]
    assert [option["option"] for option in group["options"]] == options("model")
    for option, entry in zip(group["options"], entries("model"), strict=True):
        model = ModelConfig.model_validate(entry.values())
        shape, published = model.architecture, model.published
        assert option["context"] == (shape.max_position_embeddings if shape else None)
        assert option["parameters"] == (published.parameters if published else None)
        assert option["source"] == (published.source if published else None)
        assert option["unverified"] == (published is not None and published.unverified)
        assert (option["gated"], option["licence"] or "") == (model.gated, model.licence)


def test_what_could_not_be_verified_is_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model").mkdir()
    text = "# Ours.\npublished:\n  parameters: 5\n  source: https://example.org/x\n  unverified: true\n"
    (tmp_path / "model" / "ours.yaml").write_text(text)
    for words in (["model"], []):
        lines = printed(capsys, *words, "--config-dir", str(tmp_path)).splitlines()
        (line,) = [line for line in lines if line.split()[:1] == ["ours"]]
        assert "unverified" in line
        (line,) = [line for line in lines if line.split()[:1] == ["llama3_8b"]]
        assert "unverified" not in line


def test_options_of_ones_own_and_broken_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in {"model/odd": "architecture: 5\npublished: [\n", "site/ours": "# Our site.\nmem: 1\n"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.yaml").write_text(text)
    said = printed(capsys, "--config-dir", str(tmp_path))
    assert f"Our site. ({tmp_path}/site/ours.yaml)" in said
    assert "odd" in said


@pytest.mark.parametrize("width", [80, 200])
def test_in_a_terminal(width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "dumb")
    for names in (list(groups()), *([name] for name in groups())):
        catalogue_pages.show(catalogue(names))
        said = capsys.readouterr().out
        wide = [line for line in said.splitlines() if len(line) > width]
        assert wide == []
        shown = "".join(said.split())
        assert all("".join(text.split()) in shown for text in _texts(names))


def _texts(names: list[str]) -> list[str]:
    return [name for group in names for name in options(group)]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["modell"], "did you mean model?"),
        (["--json", "--markdown"], "give one of them"),
        (["--config-dir", "nope"], "nope"),
    ],
)
def test_what_is_wrong(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["catalogue", *words]) == 2
    assert says in capsys.readouterr().err


def test_the_json_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    document: dict[str, Any] = json.loads(printed(capsys, "--json"))
    assert [group["group"] for group in document["groups"]] == list(groups())
    assert {group["group"]: group["default"] for group in document["groups"]}["adapter"] == "lora"
