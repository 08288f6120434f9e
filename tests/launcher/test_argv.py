"""The command line before Hydra: verbs, flags anywhere on the line, the two spellings of a group."""

import os
from pathlib import Path

import pytest

from launcher.argv import parse, split_verb
from launcher.errors import InputError
from launcher.overrides import check


def test_the_verb_is_the_first_word() -> None:
    assert split_verb(["plan", "model=x"]) == ("plan", ["model=x"])
    assert split_verb(["--json", "status"]) == ("status", ["--json"])
    assert split_verb(["+model=x", "plan"]) == (None, ["+model=x", "plan"])
    assert split_verb([]) == (None, [])


@pytest.mark.parametrize("line", [["-m", "a=1", "b=2"], ["a=1", "-m", "b=2"], ["a=1", "b=2", "--multirun"]])
def test_multirun_is_heard_anywhere(line: list[str]) -> None:
    parsed = parse(line)
    assert parsed.multirun
    assert parsed.overrides == ("a=1", "b=2")


def test_flags_of_hydra_keep_their_values() -> None:
    parsed = parse(["model=x", "--cfg", "job", "--info", "searchpath", "a=1", "--package", "p", "--json"])
    assert parsed.hydra == ("--cfg", "job", "--info", "searchpath", "--package", "p")
    assert parsed.overrides == ("model=x", "a=1")
    assert parsed.json


def test_info_without_a_value_takes_no_override() -> None:
    assert parse(["--info", "model=x"]).overrides == ("model=x",)


def test_config_dir_comes_from_the_flag_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setenv("SLURMWRIGHT_CONFIG_DIR", str(other))
    assert parse([]).config_dir == other
    assert parse(["--config-dir", str(tmp_path)]).config_dir == tmp_path
    assert parse([f"--config-dir={tmp_path}"]).config_dir == tmp_path


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["--jsn"], "did you mean --json"),
        (["--config-dir"], "--config-dir needs a value"),
        (["--config-dir", "/no/such/folder"], "no such folder"),
        (["--experimental-rerun", "x"], "unknown flag"),
        ([os.fsdecode(b"data.path=\xff")], "not UTF-8"),
    ],
)
def test_a_wrong_flag_is_refused(line: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse(line)


@pytest.mark.parametrize("group", ["model=smollm2_135m", "+model=smollm2_135m"])
def test_a_group_has_one_canonical_spelling(group: str) -> None:
    checked = check(["+cluster=local", group, "++seed=3"])
    assert not checked.problems
    assert checked.canonical == ["cluster=local", "model=smollm2_135m", "seed=3"]


def test_the_shorthand_of_a_cluster_is_its_long_form() -> None:
    short, long = check(["cluster=3x8xh100"]), check(["+cluster=8xh100", "cluster.nodes=3"])
    assert short.canonical == long.canonical == ["cluster=8xh100", "cluster.nodes=3"]
    assert (short.choices, short.values) == (long.choices, long.values)


def test_an_option_of_ones_own_beats_the_shorthand(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "2x4xours.yaml").write_text("name: 2x4xours\n")
    assert check(["cluster=2x4xours"], tmp_path).canonical == ["cluster=2x4xours"]
