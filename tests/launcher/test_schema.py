"""`schema`: JSON Schema of a run and of every group's option files, which the shipped files fit and mistakes do not."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from conf.schema.fields import annotation_at, choices_of, fields, group_of
from conf.schema.run import RunConfig
from launcher.cli import main
from launcher.entries import entries
from launcher.options import groups
from launcher.resolve import resolve
from launcher.schema import DIALECT, of_file, of_run
from launcher.yaml_files import read_values
from tests.launcher.json_schema import mistakes

RUN = of_run()
ENTRIES = [entry for group in groups() for entry in entries(group)]


def wrong(schema: Mapping[str, Any], value: Any) -> list[str]:
    return list(mistakes(schema, value, schema))


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["schema", *words]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_the_schema_of_a_run_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys) == printed(capsys, "--json") == RUN
    assert RUN["$schema"] == DIALECT


def test_every_field_has_its_title_description_and_default() -> None:
    for path, info in fields().items():
        node: Any = RUN
        for part in path.split("."):
            node = _held(node)["properties"][part]
        says = node.get("description") or _held(node)["description"]  # said once where it is that of the group
        assert len(says) >= 8 and "None" not in says, path
        if group_of(info.annotation) is None:
            assert "title" in node, path
            assert info.is_required() or "default" in node or info.default_factory is not None, path


def _held(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object schema behind references and alternatives."""
    for part in [node, *node.get("anyOf", [])]:
        if "$ref" in part:
            found: Mapping[str, Any] = RUN["$defs"][part["$ref"].rpartition("/")[2]]
            return found
    return node


def test_the_defaults_and_whole_runs_fit() -> None:
    assert wrong(RUN, RunConfig().dump()) == []
    assert wrong(RUN, resolve(["model=llama3_70b", "cluster=2x8xh100", "adapter=qlora"]).config.dump()) == []


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.group}={entry.name}")
def test_every_shipped_file_fits_its_schema(entry: Any) -> None:
    assert wrong(of_file(entry.group), read_values(entry.file)) == []


@pytest.mark.parametrize("group", list(groups()))
def test_a_schema_refuses_what_the_schema_of_the_house_refuses(group: str) -> None:
    schema = of_file(group)
    assert wrong(schema, {"no_such_key": 1})
    assert wrong(schema, {"defaults": [f"no_such_{group}"]})
    assert wrong(schema, {"defaults": [{"override /no_such": "x"}]})
    other = "gpu" if group != "gpu" else "site"
    package = "" if group == "recipe" else f"@_global_.{other}"
    assert wrong(schema, {"defaults": [{f"override /{other}{package}": "no_such"}]})
    assert not wrong(schema, {"defaults": ["_self_"]})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("adapter.r", 0), ("adapter.r", 1.5), ("adapter.r", "8"), ("adapter.kind", "lorra"), ("adapter.bits", 5),
        ("adapter.dropout", 1), ("cluster.time", "soon"), ("run.root", ""), ("offline", 1), ("adapter.targets", "x"),
        ("adapter.layers", [-1]), ("site.environment", {"A": 1}), ("data.sets", [{"pth": "x"}]), ("name", "../x"),
    ],
)  # fmt: skip
def test_wrong_values_do_not_fit(path: str, value: Any) -> None:
    tree: Any = value
    for part in reversed(path.split(".")):
        tree = {part: tree}
    assert wrong(RUN, tree)
    assert not wrong(RUN, {})


def test_enumerations_are_all_there() -> None:
    listed = {json.dumps(node["enum"]) for node in _nodes(RUN) if "enum" in node}
    for path in fields():
        choices = choices_of(annotation_at(path))
        assert len(choices) < 2 or json.dumps(list(choices)) in listed, path


def _nodes(node: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, Mapping):
        yield node
        for value in node.values():
            yield from _nodes(value)
    elif isinstance(node, list):
        for item in node:
            yield from _nodes(item)


def test_an_option_file_may_say_a_part() -> None:
    assert wrong(of_file("model"), {"defaults": ["llama3_8b"], "architecture": {"rope_theta": 1e6}}) == []
    assert wrong(of_file("recipe"), {"defaults": [{"override /model": "llama3_8b"}], "adapter": {"r": 4}}) == []


def test_options_of_ones_own_may_be_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "ours.yaml").write_text("partition: gpu\n")
    chosen = {"defaults": [{"override /site": "ours"}]}
    assert wrong(printed(capsys, "recipe"), chosen)
    assert wrong(printed(capsys, "recipe", "--config-dir", str(tmp_path)), chosen) == []


@pytest.mark.parametrize(
    ("group", "says"), [("adaptor", "did you mean adapter?"), ("batch", "it has no option files"), ("x=1", "no group")]
)
def test_what_is_no_group(group: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", group]) == 2
    assert says in capsys.readouterr().err
