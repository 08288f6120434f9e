"""The shipped recipes: each a complete run by itself, of the kind that it says."""

import json
from pathlib import Path
from typing import Any

import pytest

from conf.schema.run import RunConfig
from launcher.cli import main
from launcher.options import CONF, options
from launcher.resolve import resolve
from launcher.yaml_files import first_line

NEEDS = {"pretrain_continued": ("data.path",)}
"""What a recipe leaves to the person."""


def words(name: str, folder: Path) -> list[str]:
    rows = folder / "rows.jsonl"
    rows.write_text('{"text": "a"}\n')
    return [f"recipe={name}", *(f"{field}={rows}" for field in NEEDS.get(name, ()))]


def config(name: str, folder: Path) -> RunConfig:
    return resolve(words(name, folder)).config


@pytest.mark.parametrize("name", options("recipe"))
def test_a_recipe_alone_is_a_complete_plan_without_warnings(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "--json", *words(name, tmp_path)]) == 0
    plan: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [warning["rule"] for warning in plan["warnings"] if warning["rule"] != "not-estimated"] == []
    assert first_line(CONF / "recipe" / f"{name}.yaml").count(" ") > 3


@pytest.mark.parametrize("name", options("recipe"))
def test_what_is_typed_wins_over_a_recipe(name: str, tmp_path: Path) -> None:
    resolved = resolve([*words(name, tmp_path), "seed=7", "model=llama3_1_8b", "data.max_length=256"])
    assert (resolved.config.seed, resolved.config.data.max_length) == (7, 256)
    assert resolved.config.model.name == "llama3_1_8b"
    assert resolve(resolved.overrides) == resolved


def test_the_patterns_that_people_run_are_there(tmp_path: Path) -> None:
    small = config("qlora_8b_single_gpu", tmp_path)
    assert (small.world_size, small.adapter.bits) == (1, 4)
    assert 7e9 < (small.model.parameters or 0) < 9e9
    large = config("qlora_70b_multi_gpu", tmp_path)
    assert large.world_size > 1 and large.adapter.bits == 4 and (large.model.parameters or 0) > 7e10
    full = config("full_70b", tmp_path)
    assert full.adapter.kind == "full" and full.cluster.nodes > 1 and full.parallel.strategy in ("fsdp2", "zero3")
    pretrain = config("pretrain_continued", tmp_path)
    assert (pretrain.method.objective, pretrain.data.packing, pretrain.data.overlong) == ("pretrain", True, "split")
    long = config("long_context", tmp_path)
    shape = long.model.architecture
    assert shape is not None and long.model.rope.type is not None and long.model.rope.factor is not None
    assert long.data.max_length > shape.max_position_embeddings
    assert long.data.max_length <= shape.max_position_embeddings * long.model.rope.factor


def test_weights_gradients_and_states_fit_the_devices_of_the_full_tune(tmp_path: Path) -> None:
    full = config("full_70b", tmp_path)
    assert full.model.parameters is not None and full.gpu.memory_gib is not None
    each = 16 * full.model.parameters / full.world_size / 2**30  # bytes a parameter under mixed-precision AdamW
    assert each < 0.6 * full.gpu.memory_gib


def test_the_place_of_preference_recipes_is_plain_to_see() -> None:
    said = (CONF / "recipe" / "README.md").read_text(encoding="utf-8")
    assert "preference methods" in said and "README" not in options("recipe")
