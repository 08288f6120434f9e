"""Every optimiser trains a tiny Llama for real and goes on, bit for bit, where it was interrupted."""

import shutil
from pathlib import Path
from typing import Any, get_args

import pytest

from conf.folder import RunFolder
from conf.schema.derive import derive
from conf.schema.method import Optimizer
from conf.schema.optimizers import FACTS
from conf.schema.run import RunConfig
from tests.trainer.runs import losses, make_run, token_mean, train, weights
from trainer.failure import WorkerError

pytestmark = pytest.mark.train

OPTIMIZERS: tuple[Optimizer, ...] = get_args(Optimizer)
RATES = {"sgd": 0.5, "lion": 1e-3, "lion_8bit": 1e-3, "paged_lion": 1e-3, "paged_lion_8bit": 1e-3, "rmsprop": 1e-3}
LOW_RANK: dict[str, Any] = {"rank": 8, "update_proj_gap": 2}
RESUMED: tuple[Optimizer, ...] = (
    "adamw", "adamw_8bit", "adafactor", "lion", "muon", "schedule_free", "galore", "apollo", "stable_adamw",
    "ademamix_8bit",
)  # fmt: skip
"""One of each implementation that keeps its states in its own way."""
STEPS, SAVED = 4, 2


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("optimizers")


def make(root: Path, name: str, optimizer: Optimizer, world: int = 1, strategy: str = "ddp") -> RunFolder:
    method = {
        "optimizer": optimizer,
        "optimizer_args": LOW_RANK if optimizer in ("galore", "apollo") else {},
        "max_steps": STEPS,
        "schedule": "wsd",
    }
    adapter = {"kind": "full", "learning_rate": RATES.get(optimizer, 3e-3), "weight_decay": 0.01}
    return make_run(
        root,
        name,
        world=world,
        adapter=adapter,
        method=method,
        parallel={"strategy": strategy},
        checkpoint={"interval": SAVED},
        batch={"global": 4, "micro": 2},
        evaluation={"interval": 1},
    )


def interrupted(whole: RunFolder) -> RunFolder:
    """The run as it was at its first checkpoint."""
    folder = RunFolder(whole.path.with_name(f"{whole.id}-interrupted"))
    shutil.copytree(whole.path, folder.path)
    folder.result_file.unlink()
    shutil.rmtree(folder.model)
    shutil.rmtree(folder.checkpoints / f"step-{STEPS:08d}")
    return folder


@pytest.fixture(scope="module")
def wholes() -> dict[str, RunFolder]:
    """Runs that nothing interrupted, by their optimiser."""
    return {}


def uninterrupted(root: Path, wholes: dict[str, RunFolder], optimizer: Optimizer) -> RunFolder:
    if optimizer not in wholes:
        wholes[optimizer] = make(root, optimizer, optimizer)
        train(wholes[optimizer])
    return wholes[optimizer]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_it_trains(root: Path, wholes: dict[str, RunFolder], optimizer: Optimizer) -> None:
    result = uninterrupted(root, wholes, optimizer).result()
    assert result["eval_loss"] < result["eval_loss_before"] - 0.1


@pytest.mark.parametrize("optimizer", RESUMED)
def test_it_resumes(root: Path, wholes: dict[str, RunFolder], optimizer: Optimizer) -> None:
    import torch

    whole = uninterrupted(root, wholes, optimizer)
    folder = interrupted(whole)
    train(folder, attempt=2)
    assert [event["step"] for event in folder.events() if event["event"] == "resumed"] == [SAVED]
    found, expected = weights(folder.model), weights(whole.model)
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []
    assert losses(folder)[-2:] == losses(whole)[-2:]


def test_schedule_free_hands_out_the_average_that_it_was_evaluated_with(
    root: Path, wholes: dict[str, RunFolder]
) -> None:
    from datasets import load_from_disk
    from transformers import AutoModelForCausalLM

    folder = uninterrupted(root, wholes, "schedule_free")
    rows = list(load_from_disk(str(Path(folder.manifest()["assets"]["data"]["path"]) / "eval")))
    saved = AutoModelForCausalLM.from_pretrained(str(folder.model))
    assert folder.result()["eval_loss"] == pytest.approx(token_mean(saved, rows), abs=1e-5)


def test_schedule_free_does_not_depend_on_when_it_is_evaluated(root: Path, wholes: dict[str, RunFolder]) -> None:
    often, never = uninterrupted(root, wholes, "schedule_free"), make(root, "never", "schedule_free")
    config = never.config()
    config.evaluation.max_rows = 0
    never.config_file.write_text(dump(config), encoding="utf-8")
    train(never)
    assert losses(often) == losses(never)


@pytest.mark.parametrize("optimizer", ["muon", "schedule_free"])
def test_sharded_matrices_are_stepped_as_whole_ones(
    root: Path, wholes: dict[str, RunFolder], optimizer: Optimizer
) -> None:
    alone = uninterrupted(root, wholes, optimizer)
    folder = make(root, f"{optimizer}-fsdp2", optimizer, world=2, strategy="fsdp2")
    train(folder, world=2)
    assert losses(folder) == pytest.approx(losses(alone), abs=1e-3)
    assert folder.result()["eval_loss"] == pytest.approx(alone.result()["eval_loss"], abs=1e-3)


def dump(config: RunConfig) -> str:
    import yaml

    text: str = yaml.safe_dump(config.dump())
    return text


def config(**groups: Any) -> RunConfig:
    return derive(RunConfig.model_validate({"model": {"id": "x"}, "parallel": {"strategy": "ddp"}, **groups}))


def said(optimizer: Optimizer, **method: Any) -> dict[str, Any]:
    from trainer.optimizers import arguments

    return arguments(config(method={"optimizer": optimizer, **method}), steps=100)[0]


def test_every_optimiser_has_facts_and_a_class() -> None:
    from trainer.optimizers import SOURCES

    assert FACTS.keys() == SOURCES.keys() == set(OPTIMIZERS)


def test_what_is_not_said_is_the_optimisers_own() -> None:
    assert said("adamw") == {"betas": (0.9, 0.999)}
    assert said("lion") == {"betas": (0.9, 0.99)}
    assert said("ademamix_8bit") == {"optim_bits": 8, "betas": (0.9, 0.999, 0.9999)}
    assert said("adafactor") == {"scale_parameter": False, "relative_step": False}
    assert said("sgd") == {}
    assert said("schedule_free", warmup=0.05)["warmup_steps"] == 5


def test_what_is_said_arrives() -> None:
    given: dict[str, Any] = {"beta1": 0.8, "beta2": 0.95, "epsilon": 1e-6}
    assert said("paged_adamw_8bit", **given) == {
        "optim_bits": 8,
        "is_paged": True,
        "betas": (0.8, 0.95),
        "eps": 1e-6,
    }
    assert said("ademamix", optimizer_args={"beta3": 0.99, "alpha": 2.0}, **given) == {
        "betas": (0.8, 0.95, 0.99),
        "eps": 1e-6,
        "alpha": 2.0,
    }
    assert said("adafactor", **given)["beta1"] == 0.8
    assert said("muon", optimizer_args={"momentum": 0.9}, **given) == {
        "adamw": {"betas": (0.8, 0.95), "eps": 1e-6},
        "muon": {"momentum": 0.9},
    }


class _Tiny:
    """A tiny Llama and what the run would build over it."""

    def __init__(self, **groups: Any) -> None:
        from transformers import LlamaConfig, LlamaForCausalLM

        shape = LlamaConfig(
            hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=40
        )
        self.model = LlamaForCausalLM(shape)
        self.config = config(adapter={"kind": "full", "weight_decay": 0.1}, **groups)

    def build(self) -> Any:
        from trainer.optimizers import build, plain_groups

        decayed = [name for name, _ in self.model.named_parameters() if "norm" not in name]
        return build(self.config, self.model, plain_groups(self.model, decayed, 0.1), steps=10)

    def named(self, group: dict[str, Any]) -> set[str]:
        ids = {id(value) for value in group["params"]}
        return {name for name, value in self.model.named_parameters() if id(value) in ids}


def test_muon_has_the_hidden_matrices_and_adamw_the_rest() -> None:
    tiny = _Tiny(method={"optimizer": "muon", "learning_rate": 1e-3})
    muon, *others = tiny.build().param_groups
    assert {name.split(".")[-2] for name in tiny.named(muon)} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip
    assert (muon["weight_decay"], muon["lr"], muon["momentum"]) == (0.1, 1e-3, 0.95)
    assert tiny.named(others[0]) == {"model.embed_tokens.weight", "lm_head.weight"}
    assert [group["weight_decay"] for group in others] == [0.1, 0.0]
    assert all("norm" in name for name in tiny.named(others[1]))


def test_low_rank_projections_are_for_hidden_matrices() -> None:
    tiny = _Tiny(method={"optimizer": "galore", "learning_rate": 1e-3, "optimizer_args": {"rank": 4}})
    projected = [group for group in tiny.build().param_groups if "rank" in group]
    assert [(group["rank"], group["update_proj_gap"], group["scale"]) for group in projected] == [(4, 200, 0.25)]
    assert not any("embed" in name or "lm_head" in name for name in tiny.named(projected[0]))


def test_an_unknown_argument_names_those_that_are_known() -> None:
    tiny = _Tiny(method={"optimizer": "galore", "learning_rate": 1e-3, "optimizer_args": {"ranks": 4}})
    with pytest.raises(WorkerError, match=r"optimizer_args: galore does not know ranks; it takes .*rank, scale"):
        tiny.build()
    tiny = _Tiny(method={"optimizer": "adamw", "learning_rate": 1e-3, "optimizer_args": {"weight_decay": 0.1}})
    with pytest.raises(WorkerError, match="adamw does not know weight_decay"):
        tiny.build()


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer.optimizers import check

    check(config(method={"optimizer": "stable_adamw"}))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check(config(method={"optimizer": "adamw"}))
    with pytest.raises(WorkerError, match=r"stable_adamw needs the package torch-optimi.*: pip install torch-optimi"):
        check(config(method={"optimizer": "stable_adamw"}))


def test_a_layout_that_an_optimiser_cannot_bear_is_named() -> None:
    from trainer.optimizers import check

    with pytest.raises(
        WorkerError, match=r"muon cannot run with parallel=zero3: .* flat pieces .* parallel=ddp or fsd"
    ):
        check(config(method={"optimizer": "muon"}, parallel={"strategy": "zero3"}))
