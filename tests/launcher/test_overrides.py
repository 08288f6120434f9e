"""The pre-check of overrides: what is refused and how, and that values survive exactly."""

from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from launcher.overrides import Value, check


def only_problem(*words: str) -> tuple[str, str]:
    (problem,) = check(words).problems
    return problem.field, problem.message


@pytest.mark.parametrize(
    ("word", "field", "says"),
    [
        ("+modell=x", "modell", "did you mean model?"),
        ("adapter.rr=4", "adapter.rr", "did you mean adapter.r?"),
        ("lora.r=4", "lora.r", "did you mean adapter.r?"),
        ("learning_rate=1e-4", "learning_rate", "method.learning_rate"),
        ("site.sbach.nice=1", "site.sbach.nice", "did you mean site.sbatch.nice?"),
        ("adapter.r.x=4", "adapter.r.x", "adapter.r holds a value"),
        ("model=lama3_8b", "model", "did you mean llama3_8b"),
        ("model=../model/hf", "model", "no such option"),
        ("model=smollm2_135m,llama3_8b", "model", "sweeps"),
        ("model=[smollm2_135m]", "model", "no such option"),
        ("model=null", "model", "model is needed"),
        ("cluster=9xh100", "cluster", "8xh100"),
        ("cluster=3xh100", "cluster", "cluster=4xh100 cluster.devices_per_node=3"),
        ("adapter.r=4,8", "adapter.r", "sweeps"),
        ("adapter.r=range(1,4)", "adapter.r", "sweeps"),
        ("site.partition=a,b", "site.partition", "'site.partition=\"a,b\"'"),
        ("adapter.targets=q_proj,v_proj", "adapter.targets", "adapter.targets=[q_proj,v_proj]"),
        ("adapter.r=(", "adapter.r", "cannot be read"),
        ("run.root=${oc.env:HOME}/runs", "run.root", "interpolations"),
        ("run.root=${data.path}", "run.root", "interpolations"),
        ("checkpoint=often", "checkpoint", "checkpoint.interval"),
        ("hydra.run.dir=x", "hydra.run.dir", "run.root"),
        ("model@other=smollm2_135m", "model@other", "write model=smollm2_135m"),
        ("~adapter.r", "adapter.r", "deletes nothing"),
        ("plan", "plan", "verbs come first"),
        ("=3", "=3", "names no field"),
        ("site={partition: a, part: b}", "site.part", "did you mean site.partition?"),
    ],
)
def test_a_wrong_word_is_set_aside_with_what_to_type(word: str, field: str, says: str) -> None:
    where, message = only_problem(word)
    assert where == field
    assert says in message


def test_a_group_chosen_twice_is_refused_unless_it_is_the_same() -> None:
    assert "chosen twice" in only_problem("adapter=lora", "adapter=full")[1]
    assert not check(["adapter=lora", "+adapter=lora"]).problems


def test_nodes_cannot_contradict_the_shorthand() -> None:
    assert only_problem("cluster=2x8xh100", "cluster.nodes=3")[0] == "cluster.nodes"
    assert not check(["cluster=2x8xh100", "cluster.nodes=2"]).problems
    assert not check(["cluster=8xh100", "cluster.nodes=2", "cluster.nodes=3"]).problems


TEXTS = [
    "rows.jsonl", "my rows.jsonl", "$(touch x).jsonl", "`ls`", "a=b=c", "it's", 'say "hi"', "a\nb", "~/rows.jsonl",
    "{brace", "[x]", "back\\slash", "(par", "a;b|c&d", "${X}", "007", "1e10", "true", "1:00:00", "ünï 字 🙂", " lead",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_text_survives_exactly_and_hydra_reads_the_canonical_form(text: str) -> None:
    checked = check([f"data.path={text}"])
    assert checked.values == [Value("data.path", text)]
    (word,) = checked.canonical
    assert OverridesParser.create().parse_override(word).value() == text
    assert check([word]).values == checked.values


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("data.path='a,b'", "a,b"),
        ('data.path="a b"', "a b"),
        ("data.path=a\\,b", "a,b"),
        ("data.path=null", None),
        ("adapter.r=4", 4),
        ("adapter.bits=null", None),
        ("adapter.targets=[q_proj, v_proj]", ["q_proj", "v_proj"]),
        ("offline=true", True),
        ("method.learning_rate=2e-5", 2e-5),
        ("site.sbatch.nice=100", 100),
        ("site.sbatch.comment=$(x)", "$(x)"),
        ("site.environment.LEVEL=1", "1"),
        ("model.wheel.file=x.gguf", "x.gguf"),
    ],
)
def test_values_are_read_as_their_field_means_them(word: str, value: Any) -> None:
    checked = check([word])
    assert not checked.problems
    assert checked.values == [Value(word.partition("=")[0], value)]


def test_a_mapping_sets_each_of_its_fields() -> None:
    checked = check(["site={partition: gpu, sbatch: {nice: 5}}"])
    assert checked.values == [Value("site.partition", "gpu"), Value("site.sbatch.nice", 5)]


def test_a_key_of_a_free_mapping_is_deleted() -> None:
    assert check(["~site.sbatch.nice"]).values == [Value("site.sbatch.nice", None, delete=True)]


@pytest.mark.parametrize("word", ["cluster=", "cluster=x", "cluster=0xh100", "cluster=9999xh100"])
def test_a_cluster_of_no_known_size_is_no_option(word: str) -> None:
    (problem,) = check([word]).problems
    assert problem.field == "cluster" and "there is no such option" in problem.message
