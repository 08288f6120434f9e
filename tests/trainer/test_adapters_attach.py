"""What exactly reaches PEFT, the optimiser's groups, and models whose vocabulary or positions are changed."""

from pathlib import Path
from typing import Any

import pytest
import torch

from conf.schema.model import RopeOverride
from conf.schema.run import RunConfig
from tests.tiny import VOCABULARY, tiny_llama
from tests.trainer.runs import make_run, train, weights
from trainer import adapters, model, positions, vocabulary
from trainer.failure import WorkerError

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("attach") / "base")


def config(**groups: Any) -> RunConfig:
    return RunConfig.model_validate({"gpu": {"device": "cpu"}, "parallel": {"strategy": "ddp"}} | groups)


def llama(base: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(str(base))


def peft_config(base: Path | None, steps: int = 100, **adapter: Any) -> Any:
    return adapters.peft_config(config(adapter=adapter), None if base is None else llama(base), steps)


def test_lora_in_pefts_words() -> None:
    made = peft_config(None, r=8, alpha=12.5, dropout=0.1, modules_to_save=["lm_head"])
    assert (made.r, made.lora_alpha, made.lora_dropout) == (8, 12.5, 0.1)
    assert (made.target_modules, made.modules_to_save, made.task_type) == ("all-linear", ["lm_head"], "CAUSAL_LM")
    assert (made.use_dora, made.use_rslora, made.init_lora_weights, made.bias) == (False, False, True, "none")
    made = peft_config(None, targets=["q_proj", "v_proj"], dora=True, rslora=True, init="gaussian", layers=[0, 3])
    assert made.target_modules == {"q_proj", "v_proj"} and made.layers_to_transform == [0, 3]
    assert (made.use_dora, made.use_rslora, made.init_lora_weights) == (True, True, "gaussian")
    inits = {"orthogonal": "orthogonal", "pissa": "pissa_niter_16", "olora": "olora", "loftq": True}
    assert {name: peft_config(None, init=name).init_lora_weights for name in inits} == inits
    made = peft_config(None, target_parameters=["mlp.experts.down_proj"], layers=[2], targets=["q_proj"])
    assert made.target_parameters == ["layers.2.mlp.experts.down_proj"]


def test_other_kinds_in_pefts_words(base: Path) -> None:
    made = peft_config(None, 1000, kind="adalora", r=8, alpha=16.0, targets=["q_proj"])
    assert (made.init_r, made.target_r, made.lora_alpha) == (12, 8, 16)
    assert (made.total_step, made.tinit, made.tfinal, made.deltaT) == (1000, 100, 500, 2)
    made = peft_config(None, kind="vera", r=64, dropout=0.1, targets=["q_proj"])
    assert (made.r, made.vera_dropout, made.projection_prng_key, made.save_projection) == (64, 0.1, 42, True)
    made = peft_config(base, kind="ia3")
    assert made.target_modules == {"k_proj", "v_proj", "down_proj"} and made.feedforward_modules == {"down_proj"}
    made = peft_config(base, kind="ia3", layers=[1], targets=["v_proj", "down_proj"])
    assert made.target_modules == {"model.layers.1.self_attn.v_proj", "model.layers.1.mlp.down_proj"}
    assert made.feedforward_modules == {"model.layers.1.mlp.down_proj"}


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 100, 12_345])
def test_adalora_has_phases_for_any_number_of_steps(steps: int) -> None:
    made = peft_config(None, steps, kind="adalora", targets=["q_proj"])
    assert 0 <= made.tinit < steps - made.tfinal and made.deltaT >= 1
    assert steps == 1 or made.tfinal >= 1  # the last cut is made at a step of the run


def test_all_linear_of_some_layers_leaves_the_output_out(base: Path) -> None:
    tuned = adapters.attach(llama(base), config(adapter={"layers": [1], "r": 2}), 10, base).model
    trained = [name for name, value in tuned.named_parameters() if value.requires_grad]
    assert len(trained) == 14 and all(".layers.1." in name for name in trained)


def test_what_cannot_be_attached_is_told_in_one_sentence(base: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    gpt2 = AutoModelForCausalLM.from_config(AutoConfig.for_model("gpt2", n_layer=1, n_embd=8, n_head=1, vocab_size=9))
    with pytest.raises(WorkerError, match="which layers of a gpt2 model kind=ia3 scales is not known"):
        adapters.attach(gpt2, config(adapter={"kind": "ia3"}), 10, base)
    with pytest.raises(
        WorkerError, match=r"adapter.unfrozen: 'lm_haed' matches no parameter; their names are as model"
    ):
        adapters.attach(llama(base), config(adapter={"kind": "freeze", "unfrozen": ["lm_haed"]}), 10, base)
    with pytest.raises(WorkerError, match=r"adapter\.init=olora takes its first values out of the weights"):
        adapters.attach(llama(base), config(adapter={"init": "olora", "bits": 4}), 10, base)
    sharded = config(
        parallel={"strategy": "fsdp2"}, cluster={"devices_per_node": 2}, adapter={"modules_to_save": ["lm_head"]}
    )
    with pytest.raises(WorkerError, match="wrong gradients under parallel=fsdp2: use parallel=zero3 or ddp"):
        adapters.attach(llama(base), sharded, 10, base)
    with pytest.raises(WorkerError, match="has no rotary positions"):
        positions.override(gpt2.config, RopeOverride(theta=1e6))


def test_the_seed_decides_first_values(base: Path) -> None:
    def values(seed: int) -> dict[str, Any]:
        return adapters.attach(llama(base), config(seed=seed), 10, base).trained()

    first, again, other = values(1), values(1), values(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def groups(base: Path, method: dict[str, Any] | None = None, **adapter: Any) -> dict[tuple[float, float], set[str]]:
    """Names of the parameters of each group, by learning rate and decay."""
    made = config(adapter=adapter, method={"learning_rate": 1e-4} | (method or {}))
    tuned = adapters.attach(llama(base), made, 10, base).model
    names = {id(value): name for name, value in tuned.named_parameters()}
    found = adapters.parameter_groups(tuned, made)
    assert found is not None
    every = [names[id(value)] for group in found for value in group["params"]]
    assert sorted(every) == sorted(name for name, value in tuned.named_parameters() if value.requires_grad)
    return {(group["lr"], group["weight_decay"]): {names[id(value)] for value in group["params"]} for group in found}


def test_groups_of_the_optimiser(base: Path) -> None:
    plain = config(method={"learning_rate": 1e-4})
    assert adapters.parameter_groups(llama(base), plain) is None
    plus = groups(base, loraplus_ratio=16.0, weight_decay=0.1, dora=True, targets=["q_proj"])
    assert list(plus) == [(1e-4, 0.1), (16e-4, 0.1)]
    assert {name.split(".")[-3] for name in plus[1e-4, 0.1]} == {"lora_A"}
    assert {part for name in plus[16e-4, 0.1] for part in name.split(".") if part.startswith("lora_")} == {
        "lora_B",
        "lora_magnitude_vector",
    }
    saved = groups(base, {"embedding_learning_rate": 1e-5}, targets=["q_proj"], modules_to_save=["embed_tokens"])
    assert [name for name in saved[1e-5, 0.0] if "embed_tokens.modules_to_save" not in name] == []
    assert len(saved[1e-4, 0.0]) == 4
    full = groups(base, {"embedding_learning_rate": 1e-5}, kind="full", weight_decay=0.1)
    assert full[1e-5, 0.1] == {"model.embed_tokens.weight", "lm_head.weight"}
    assert list(full) == [(1e-4, 0.1), (1e-4, 0.0), (1e-5, 0.1)]
    assert all("norm" in name for name in full[1e-4, 0.0])


@pytest.mark.parametrize("bits", [None, 4])
def test_new_tokens_get_rows_of_their_own(base: Path, bits: int | None) -> None:
    grown = model.load_model(base, config(adapter={"bits": bits}, precision={"compute": "fp32"}))
    old = {"in": grown.get_input_embeddings().weight.clone(), "out": grown.get_output_embeddings().weight.clone()}
    vocabulary.grow(grown, VOCABULARY)
    assert len(grown.get_input_embeddings().weight) == VOCABULARY
    vocabulary.grow(grown, VOCABULARY + 3)
    new = {"in": grown.get_input_embeddings().weight, "out": grown.get_output_embeddings().weight}
    for side, value in new.items():
        assert value.shape == (VOCABULARY + 3, 64)
        assert torch.equal(value[:VOCABULARY], old[side])
        torch.testing.assert_close(value[VOCABULARY:], old[side].mean(dim=0).expand(3, -1))
    assert grown.config.vocab_size == VOCABULARY + 3


def test_positions_are_stretched(base: Path) -> None:
    def loaded(**rope: Any) -> Any:
        return model.load_model(base, config(model={"rope": rope}, precision={"compute": "fp32"}))

    own = loaded()
    assert own.config.max_position_embeddings == 512
    linear = loaded(type="linear", factor=4.0)
    assert linear.config.max_position_embeddings == 2048
    torch.testing.assert_close(linear.model.rotary_emb.inv_freq, own.model.rotary_emb.inv_freq / 4)
    yarn = loaded(type="yarn", factor=4.0, theta=5e5)
    assert yarn.config.max_position_embeddings == 2048
    assert yarn.config.rope_parameters == {
        "rope_type": "yarn",
        "factor": 4.0,
        "rope_theta": 5e5,
        "original_max_position_embeddings": 512,
    }
    # The fastest turns are kept, the slowest are stretched by the factor.
    fresh = 1 / 5e5 ** (torch.arange(0, 16, 2) / 16)
    torch.testing.assert_close(yarn.model.rotary_emb.inv_freq[0], fresh[0])
    torch.testing.assert_close(yarn.model.rotary_emb.inv_freq[-1], fresh[-1] / 4)
    theta = loaded(theta=1e6)
    torch.testing.assert_close(theta.model.rotary_emb.inv_freq, 1 / 1e6 ** (torch.arange(0, 16, 2) / 16))
    assert theta.config.max_position_embeddings == 512
    assert loaded(type="dynamic", factor=2.0).config.max_position_embeddings == 512


def test_layers_that_see_all_are_stretched_where_they_differ() -> None:
    from transformers import AutoConfig

    gemma = AutoConfig.for_model("gemma3_text", num_hidden_layers=6)
    local = dict(gemma.rope_parameters["sliding_attention"])
    positions.override(gemma, RopeOverride(type="linear", factor=8.0))
    assert gemma.rope_parameters["full_attention"]["factor"] == 8.0
    assert gemma.rope_parameters["sliding_attention"] == local


def test_a_stretched_model_is_written_with_its_positions(tmp_path: Path) -> None:
    from transformers import AutoConfig

    folder = make_run(
        tmp_path,
        "stretched",
        model={"rope": {"type": "yarn", "factor": 2.0}},
        adapter={"kind": "full", "learning_rate": 1e-3},
        method={"max_steps": 1},
    )
    train(folder)
    written = AutoConfig.from_pretrained(str(folder.model))
    assert (written.max_position_embeddings, written.rope_parameters["rope_type"]) == (1024, "yarn")


def test_a_grown_vocabulary_is_trained_and_written(tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = make_run(tmp_path, "grown", adapter={"modules_to_save": ["embed_tokens", "lm_head"]})
    base = Path(folder.manifest()["assets"]["model"]["path"])
    tokenizer = AutoTokenizer.from_pretrained(str(base))
    tokenizer.add_tokens([f"<new {number}>" for number in range(VOCABULARY + 2 - len(tokenizer))])
    tokenizer.save_pretrained(str(base))
    train(folder)
    saved = {name: len(value) for name, value in weights(folder.adapter).items() if "lora_" not in name}
    assert saved == {f"base_model.model.{name}.weight": VOCABULARY + 2 for name in ("lm_head", "model.embed_tokens")}
    plain = AutoModelForCausalLM.from_pretrained(str(base))
    vocabulary.grow(plain, len(AutoTokenizer.from_pretrained(str(folder.adapter))))
    assert len(PeftModel.from_pretrained(plain, str(folder.adapter)).get_output_embeddings().weight) == VOCABULARY + 2
