"""Every YAML entry, composed and checked as the launcher does it; models have tests of their own (test_catalogue)."""

from pathlib import Path

import pytest
import yaml

from conf.schema.problems import ConfigProblems
from launcher.options import CONF, groups, options
from launcher.resolve import resolve

NEEDS = {
    ("model", "hf"): ["model.id=some/model"],
    ("data", "file"): ["data.path={rows}"],
    ("data", "hub"): ["data.path=owner/name"],
    ("data", "sets"): ["data.sets=[{{path: {rows}}}]"],
    ("recipe", "pretrain_continued"): ["data.path={rows}"],
}
"""What an entry says that a person must add."""
ENTRIES = [(group, option) for group in groups() if group != "model" for option in options(group)]


@pytest.mark.parametrize(("group", "option"), [("model", "hf"), ("model", "smollm2_135m"), *ENTRIES])
def test_an_entry_is_a_complete_run_with_the_rest_at_its_defaults(group: str, option: str, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a"}\n')
    chosen = {"model": "smollm2_135m", "cluster": "1xh100"} | {group: option}
    if group == "recipe":
        chosen = {"recipe": option}
    words = [f"{name}={value}" for name, value in chosen.items()]
    words += [word.format(rows=rows) for word in NEEDS.get((group, option), [])]
    resolved = resolve(words)
    assert [warning for warning in resolved.warnings if warning.rule not in _EXPECTED] == []


_EXPECTED = {"model-unknown", "sharding-alone", "sweep-alone"}
"""Warnings that go with an option: `model=hf` is of a size that nobody has told, one device shards nothing, and here a
sweep is read as one run."""


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda path: str(path.relative_to(CONF)))
def test_an_entry_says_what_it_is_in_its_first_line(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("# ")


def test_the_root_lists_every_folder_of_options() -> None:
    folders = {path.name for path in CONF.iterdir() if path.is_dir() and any(path.glob("*.yaml"))}
    assert folders - {"prompts"} <= groups().keys()
    listed = yaml.safe_load((CONF / "config.yaml").read_text())["defaults"]
    assert listed[0] == "base" and listed[-1] == "_self_"


def test_what_an_entry_leaves_to_the_person_is_asked_for() -> None:
    for (group, option), words in NEEDS.items():
        field = words[0].partition("=")[0]
        chosen = {"model": "smollm2_135m", "cluster": "local"} | {group: option}
        if group == "recipe":
            chosen = {"recipe": option}
        with pytest.raises(ConfigProblems) as caught:
            resolve([f"{name}={value}" for name, value in chosen.items()])
        assert [problem.field for problem in caught.value.problems] == [field]
