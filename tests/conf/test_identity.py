"""What makes two commands the same run."""

import pytest

from conf.schema.derive import derive
from conf.schema.fields import fields, group_of
from conf.schema.identity import identity, identity_digest, identity_fields, run_id
from conf.schema.run import RunConfig


def config(**groups: object) -> RunConfig:
    return derive(RunConfig.model_validate({"batch": {"global": 16}, "precision": {"compute": "fp32"}} | groups))


@pytest.mark.parametrize(
    "groups",
    [
        {"cluster": {"nodes": 2, "time": "30"}},
        {"site": {"partition": "gpu", "sbatch": {"nice": 1}}},
        {"parallel": {"strategy": "zero3"}},
        {"tracking": {"name": "none"}},
        {"checkpoint": {"interval": 7}},
        {"evaluation": {"interval": 7}},
        {"offline": True},
        {"name": "other"},
        {"run": {"root": "/elsewhere"}},
        {"batch": {"global": 16, "micro": 2}},
        {"model": {"attention": "eager"}},
    ],
)
def test_how_and_where_a_run_is_carried_out_is_no_part_of_it(groups: dict[str, object]) -> None:
    assert identity_digest(config(**groups)) == identity_digest(config())


@pytest.mark.parametrize(
    "groups",
    [
        {"seed": 1},
        {"model": {"id": "some/model"}},
        {"model": {"revision": "abc"}},
        {"adapter": {"r": 8}},
        {"adapter": {"targets": ["q_proj"]}},
        {"data": {"max_length": 64}},
        {"data": {"packing": True}},
        {"method": {"learning_rate": 0.5}},
        {"method": {"max_steps": 3}},
        {"batch": {"global": 32}},
        {"precision": {"compute": "bf16"}},
    ],
)
def test_what_decides_the_result_is(groups: dict[str, object]) -> None:
    assert identity_digest(config(**groups)) != identity_digest(config())


def test_only_what_differs_from_the_defaults_counts() -> None:
    assert "adapter.r" not in identity(config())
    assert identity(config(adapter={"r": 8}))["adapter.r"] == 8
    assert identity(config())["batch.global"] == 16
    assert identity_digest(config(adapter={"r": 16})) == identity_digest(config())


def test_identity_fields_are_those_that_identity_reports() -> None:
    listed = set(identity_fields())
    assert identity(config(seed=1, adapter={"r": 8})).keys() <= listed
    assert {"seed", "batch.global", "data.digest"} <= listed
    assert not {"name", "batch.micro", "data.path", "site.partition", "cluster.nodes"} & listed
    assert all(group_of(fields()[path].annotation) is None for path in listed)


def test_the_id_is_short_names_and_a_hash() -> None:
    made = config(model={"name": "m"}, adapter={"name": "a"}, data={"name": "d"}, method={"name": "x"})
    assert run_id(made) == f"m-a-d-x-{identity_digest(made)[:8]}"
    assert run_id(config(name="mine")) == "mine"
