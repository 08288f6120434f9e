"""The rules: each breaks on one change of a valid run, says what to type, and keeps quiet where it cannot judge."""

from pathlib import Path
from typing import Any

import pytest

from conf.schema.derive import derive
from conf.schema.fields import fields
from conf.schema.rules import check
from conf.schema.rules.registry import RULES
from conf.schema.run import RunConfig

SHAPE = {
    "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1,
    "num_key_value_heads": 1, "head_dim": 8, "vocab_size": 32, "max_position_embeddings": 512,
}  # fmt: skip
VALID: dict[str, Any] = {
    "model": {"id": "some/model", "name": "m", "architecture": SHAPE | {"max_position_embeddings": 4096}},
    "cluster": {"kind": "local"},
}
BROKEN: dict[str, list[tuple[dict[str, Any], str, str]]] = {
    "batch-arithmetic": [
        ({"batch": {"global": 100, "micro": 2}, "cluster": {"nodes": 16}}, "batch.global", "96 or 128"),
        ({"batch": {"global": 9, "micro": 2, "accumulation": 4}}, "batch.global", "batch.global=8"),
        ({"batch": {"global": 2}, "cluster": {"nodes": 4}}, "batch.global", "use 4"),
    ],
    "data-path": [
        ({"data": {"source": "file"}}, "data.path", "data.path=FILE"),
        ({"data": {"source": "file", "path": "none.jsonl"}}, "data.path", "there is no file"),
        ({"data": {"source": "file", "path": "{folder}/rows.csv"}}, "data.path", "neither"),
        ({"data": {"path": "x.jsonl"}}, "data.path", "data=file"),
    ],
    "context-length": [
        ({"model": {"id": "a/b", "architecture": SHAPE}}, "data.max_length", "data.max_length=512"),
    ],
    "model-id": [
        ({"model": {}}, "model.id", "model.id=OWNER/NAME"),
        ({"model": {"id": "x", "source": "folder"}}, "model.id", "no folder"),
        ({"model": {"id": "{folder}"}}, "model.id", "config.json"),
        ({"model": {"id": "x", "source": "wheel"}}, "model.source", "model.wheel.requirement"),
    ],
    "epochs-or-steps": [({"method": {"epochs": 1, "max_steps": 2}}, "method.epochs", "give one")],
    "quantised-full": [({"adapter": {"kind": "full", "bits": 4}}, "adapter.bits", "adapter=qlora")],
    "quantised-sharding": [
        ({"adapter": {"bits": 4}, "parallel": {"strategy": "zero3"}}, "parallel.strategy", "parallel=ddp"),
        ({"adapter": {"bits": 8}, "parallel": {"strategy": "fsdp2"}}, "parallel.strategy", "parallel=zero2"),
    ],
    "bf16-device": [({"precision": {"compute": "bf16"}}, "precision.compute", "precision.compute=fp32")],
    "attention-device": [
        ({"model": {"id": "a/b", "attention": "flash_attention_2"}}, "model.attention", "sdpa"),
        (
            {
                "model": {"id": "a/b", "attention": "flash_attention_2"},
                "gpu": {"device": "cuda"},
                "precision": {"compute": "fp32"},
            },
            "precision.compute",
            "bf16",
        ),
    ],
    "model-unknown": [({"model": {"id": "a/b"}}, "model.id", "not in the catalogue")],
    "container-image": [({"site": {"container": {"kind": "pyxis"}}}, "site.container.image", "FILE_OR_NAME")],
    "local-nodes": [({"cluster": {"kind": "local", "nodes": 2}}, "cluster.nodes", "cluster.nodes=1")],
    "sbatch-flags": [
        ({"site": {"sbatch": {"nodes": 3}}}, "site.sbatch.nodes", "cluster.nodes"),
        ({"site": {"sbatch": {"licences": "x"}}}, "site.sbatch.licences", "licenses"),
    ],
    "one-line-values": [({"site": {"partition": "a\nb"}}, "site.partition", "one plain line")],
    "site-environment": [
        ({"site": {"environment": {"A B": "x"}}}, "site.environment.A B", "letters"),
        ({"site": {"environment": {"HF_TOKEN": "x"}}}, "site.environment.HF_TOKEN", "secret"),
    ],
    "no-secrets": [
        ({"site": {"environment": {"X": "hf_" + "a" * 30}}}, "site.environment.X", "secret"),
        ({"site": {"setup": ["export WANDB_API_KEY=" + "a" * 40]}}, "site.setup", "secret"),
    ],
}
CASES = [(rule, *case) for rule, cases in BROKEN.items() for case in cases]


def found(groups: dict[str, Any]) -> list[tuple[str, str, str]]:
    made = derive(RunConfig.model_validate(VALID | groups))
    return [(problem.rule, problem.field, problem.message) for problem in check(made)]


def filled(value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        return {key: filled(part, folder) for key, part in value.items()}
    return value.replace("{folder}", str(folder)) if isinstance(value, str) else value


def test_a_plain_run_breaks_none() -> None:
    assert found({}) == []


@pytest.mark.parametrize(("rule", "groups", "field", "says"), CASES)
def test_one_change_breaks_it(rule: str, groups: dict[str, Any], field: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a\n")
    problems = found(filled(groups, tmp_path))
    assert [(name, where) for name, where, _ in problems if name == rule] == [(rule, field)]
    assert says in next(message for name, _, message in problems if name == rule)


def test_every_rule_is_among_them() -> None:
    assert RULES.keys() - BROKEN.keys() == set()


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_names_the_fields_that_it_reads(rule: str) -> None:
    assert RULES[rule].reads
    assert set(RULES[rule].reads) <= fields().keys()
    assert RULES[rule].reason


@pytest.mark.parametrize(("rule", "groups", "field", "says"), CASES)
def test_a_rule_is_silent_where_a_field_that_it_reads_is_invalid(
    rule: str, groups: dict[str, Any], field: str, says: str, tmp_path: Path
) -> None:
    made = derive(RunConfig.model_validate(VALID | filled(groups, tmp_path)))
    for read in RULES[rule].reads:
        for invalid in (read, read.partition(".")[0]):
            assert rule not in {problem.rule for problem in check(made, frozenset({invalid}))}
