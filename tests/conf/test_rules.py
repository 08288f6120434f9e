"""The rules: each breaks on one change of a valid run, says what to type, and keeps quiet where it cannot judge."""

import copy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from conf.schema.derive import derive
from conf.schema.fields import fields
from conf.schema.problems import Problem
from conf.schema.rules import check
from conf.schema.rules.registry import RULES, Rule
from conf.schema.run import RunConfig
from launcher.resolve import resolve
from tests.conf.broken import GPU, LOCAL, NODE, Case, devices, rows, training

BROKEN = {**devices.BROKEN, **rows.BROKEN, **training.BROKEN}
CASES = [pytest.param(rule, case, id=f"{rule}-{number}") for rule, cases in BROKEN.items()
         for number, case in enumerate(cases)]  # fmt: skip
FACTS = ("model.architecture", "model.parameters", "model.targets", "model.has_chat_template",
         "gpu.memory_gib", "gpu.compute_capability")  # fmt: skip
"""Fields that a person does not set: the catalogue has them."""
MOE, STACK = "model=mixtral_8x7b cluster=8xh100", "mlp.experts.down_proj"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("rules")
    (made / "rows.jsonl").write_text('{"text": "a"}\n')
    (made / "rows.md").write_text("a\n")
    (made / "model").mkdir()
    return made


@cache
def accepted(words: str) -> dict[str, Any]:
    """The tree of values that a command line composes to, before anything is derived; it breaks no rule."""
    resolved = resolve(words.split())
    assert resolved.warnings == (), words
    return resolved.composed.dump()


def filled(value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        return {key: filled(part, folder) for key, part in value.items()}
    if isinstance(value, list):
        return [filled(part, folder) for part in value]
    return value.replace("{folder}", str(folder)) if isinstance(value, str) else value


def changed(case: Case, folder: Path) -> RunConfig:
    tree = copy.deepcopy(accepted(case.base.replace("{folder}", str(folder))))
    for path, value in filled(case.change, folder).items():
        *parents, last = path.split(".")
        node = tree
        for parent in parents:
            node = node[parent]
        node[last] = value
    return derive(RunConfig.model_validate(tree))


def problems_of(rule: str, found: list[Problem]) -> list[Problem]:
    return [problem for problem in found if problem.rule == rule]


def counts(rule: Rule) -> bool:
    """Whether a rule reads two groups or a fact of the catalogue, and one change to a valid run breaks it."""
    groups = {field.partition(".")[0] for field in rule.reads}
    return (len(groups) > 1 or any(field in FACTS for field in rule.reads)) and any(
        len(case.change) == 1 for case in BROKEN[rule.id]
    )


@pytest.mark.parametrize(("rule", "case"), CASES)
def test_one_change_breaks_it(rule: str, case: Case, folder: Path) -> None:
    problems = problems_of(rule, check(changed(case, folder)))
    assert [problem.field for problem in problems] == [case.field]
    assert case.says in problems[0].message
    assert problems[0].warning is RULES[rule].warning


def test_every_rule_is_among_them() -> None:
    assert RULES.keys() == BROKEN.keys()


def test_enough_of_them_count() -> None:
    counting = [rule for rule in RULES.values() if counts(rule)]
    assert len(counting) >= 60
    assert len([rule for rule in counting if not rule.warning]) >= 40


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_says_what_it_reads_why_and_what_to_do(rule: str) -> None:
    said = RULES[rule]
    assert said.reads and set(said.reads) <= fields().keys()
    for line in (said.reason, said.fix):
        assert line and "\n" not in line and not line.endswith(".")
    assert (said.fails == "") is said.warning


@pytest.mark.parametrize(("rule", "case"), CASES)
def test_a_rule_is_silent_where_a_field_that_it_reads_is_invalid(rule: str, case: Case, folder: Path) -> None:
    made = changed(case, folder)
    for read in RULES[rule].reads:
        for invalid in (read, read.partition(".")[0]):
            assert problems_of(rule, check(made, frozenset({invalid}))) == []


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("output-sharding", f"{NODE} parallel=fsdp2 adapter.modules_to_save=[embed_tokens]"),
        ("output-sharding", f"{NODE} parallel=zero3 adapter.modules_to_save=[embed_tokens,lm_head]"),
        ("output-sharding", f"{GPU} parallel=fsdp2 adapter.modules_to_save=[embed_tokens,lm_head]"),
        ("vera-sharding", f"{NODE} parallel=zero3 adapter=vera"),
        ("adalora-sharding", f"{NODE} parallel=ddp adapter=adalora"),
        ("quantised-init", f"{NODE} adapter=loftq"),
        ("loftq-sharding", f"{NODE} parallel=zero2 adapter=loftq"),
        (
            "target-experts-layers",
            f"{MOE} adapter.targets=[q_proj] adapter.layers=[0] adapter.target_parameters=[{STACK}]",
        ),
        ("target-experts-alone", "model=deepseek_v2_lite cluster=8xh100 adapter=vera adapter.targets=[down_proj]"),
        ("target-unknown", f"{MOE} adapter=ia3"),
    ],
)
def test_what_works_is_not_refused(rule: str, words: str) -> None:
    assert rule not in {problem.rule for problem in resolve(words.split()).warnings}


def test_all_problems_of_a_run_come_at_once(folder: Path) -> None:
    change = {"adapter.layers": [99], "precision.compute": "fp16", "batch.global": 9, "batch.micro": 2,
              "method.early_stopping": 2, "model.chat_template": "chatlm"}  # fmt: skip
    found = {problem.rule for problem in check(changed(Case(LOCAL, change, "", ""), folder))}
    assert found == {
        "adapter-layers", "fp16-device", "batch-arithmetic", "early-stopping-evaluation", "template-unknown",
    }  # fmt: skip


@pytest.mark.parametrize("words", [NODE, f"{LOCAL} adapter=freeze", "model=mixtral_8x7b cluster=8xh100"])
@pytest.mark.parametrize("value", [10**400, 10**18, 1, 1.7e308, 5e-324, 0.0, "*", "(", ["("]])
def test_no_rule_stumbles_over_a_value_that_the_schema_allows(words: str, value: Any) -> None:
    for path in fields():
        tree = copy.deepcopy(accepted(words))
        node = tree
        *parents, last = path.split(".")
        for parent in parents:
            node = node.get(parent) or {}
        node[last] = value
        try:
            config = RunConfig.model_validate(tree)
        except ValidationError:
            continue
        check(derive(config))
