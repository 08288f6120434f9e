"""The schema itself: closed, strict, documented; and no field that nothing reads."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from conf.schema.fields import choices_of, fields, free_key, group_of, is_text, nearest, values_of
from conf.schema.run import RunConfig

ROOT = Path(__file__).parents[2]
SHOWN_ALONE = {"model.published.source", "model.published.unverified", "model.published.parameters", "gpu.source"}
"""Facts about facts: where an entry's numbers come from. The catalogue's tests read them."""


def groups() -> Iterator[tuple[str, type[BaseModel]]]:
    yield "", RunConfig
    for path, info in fields().items():
        group = group_of(info.annotation)
        if group is not None:
            yield path, group


@pytest.mark.parametrize("path", [path for path, _ in groups()])
def test_unknown_keys_are_refused_at_every_depth(path: str) -> None:
    tree: dict[str, Any] = {}
    node = tree
    for part in filter(None, path.split(".")):
        node[part] = {}
        node = node[part]
    node["no_such_key"] = 1
    with pytest.raises(ValidationError) as caught:
        RunConfig.model_validate(tree)
    assert any(error["type"] == "extra_forbidden" for error in caught.value.errors())


def test_every_field_says_what_it_is() -> None:
    assert [path for path, info in fields().items() if len(info.description or "") < 8] == []


def test_scalars_are_not_coerced() -> None:
    for tree in ({"seed": "4"}, {"seed": 4.0}, {"offline": 1}, {"adapter": {"r": True}}, {"name": 5}):
        with pytest.raises(ValidationError):
            RunConfig.model_validate(tree)
    assert RunConfig.model_validate({"adapter": {"alpha": 3}}).adapter.alpha == 3.0


def test_an_empty_tree_is_the_defaults_and_dumps_to_itself() -> None:
    assert RunConfig.model_validate({}) == RunConfig()
    assert RunConfig.model_validate(RunConfig().dump()) == RunConfig()


def test_fields_are_found_by_what_people_type() -> None:
    known = fields()
    assert "batch.global" in known and "batch.global_" not in known
    assert values_of(known["site.sbatch"].annotation) is not None
    assert free_key("site.environment.A.B") == ("site.environment", "A.B")
    assert free_key("adapter.r") == ("", "")
    assert choices_of(known["adapter.bits"].annotation) == (4, 8)
    assert is_text(known["cluster.time"].annotation) and not is_text(known["adapter.bits"].annotation)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("batch.glob", "batch.global"),
        ("epoch", "data.epochs or method.epochs"),
        ("modle.id", "model.id"),
        ("site.enviroment.X", "site.environment.X"),
        ("checkpoint.x", "there is: checkpoint.interval"),
    ],
)
def test_the_nearest_field_is_named(typed: str, meant: str) -> None:
    assert meant in nearest(typed)


def test_no_field_is_read_by_nothing() -> None:
    read = set(_names_read())
    unread = [
        path
        for path, info in fields().items()
        if group_of(info.annotation) is None and path not in SHOWN_ALONE and _attribute(path) not in read
    ]
    assert unread == []


def _attribute(path: str) -> str:
    last = path.rpartition(".")[2]
    return "global_" if last == "global" else last


def _names_read() -> Iterator[str]:
    """Names of attributes, and words in quotes, in all code but the lines that declare fields; words of templates."""
    for room in ("conf", "launcher", "trainer", "sweeps"):
        for file in (ROOT / room).rglob("*.py"):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                    yield node.attr
                elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
                    yield node.value
    for template in (ROOT / "slurm_templates").glob("*.j2"):
        yield from re.findall(r"\w+", template.read_text(encoding="utf-8"))
