"""Every adapter of the catalogue trains for real, and what it writes is what was trained."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from conf.folder import RunFolder
from conf.schema.config_json import architecture_from
from conf.schema.trainable import trainable_count
from tests.trainer.runs import losses, make_run, token_mean, train, weights
from trainer import adapters, checkpoint, model
from trainer.first_values import quantised

pytestmark = pytest.mark.train

ENTRIES = Path(__file__).parents[2] / "conf" / "adapter"
RATES = {"pissa": 1e-3, "olora": 1e-3, "vera": 5e-2, "ia3": 5e-2, "lora_plus": 1e-3, "adalora": 2e-2}
"""Rates at which the tiny model learns something in a few steps; 5e-3 for all others."""
SMALLER: dict[str, dict[str, Any]] = {
    "full": {},
    "freeze": {"last_layers": 1},
    "vera": {"r": 16},
    "ia3": {},
}
"""What replaces an entry's sizes on two layers of width 64; rank 4 for all others."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("adapters")


def entry(name: str) -> dict[str, Any]:
    """A catalogue entry, cut down to the tiny model."""
    found: dict[str, Any] = yaml.safe_load((ENTRIES / f"{name}.yaml").read_text())
    found |= SMALLER.get(name, {"r": 4, "alpha": found.get("alpha", 32.0) * 4 / found.get("r", 16)})
    return found | {"learning_rate": RATES.get(name, 5e-3)}


def run(root: Path, name: str, folder: str | None = None, steps: int = 6, **groups: Any) -> RunFolder:
    method = {"max_steps": steps, "schedule": "constant", "warmup": 0.0}
    return make_run(root, folder or name, **({"adapter": entry(name), "method": method} | groups))


def held_out(folder: RunFolder) -> list[dict[str, Any]]:
    from datasets import load_from_disk

    return list(load_from_disk(str(Path(folder.manifest()["assets"]["data"]["path"]) / "eval")))


def by_formula(folder: RunFolder) -> int | None:
    shape = architecture_from(Path(folder.manifest()["assets"]["model"]["path"]) / "config.json")
    assert shape is not None
    return trainable_count(shape, folder.config().adapter)


def artefact(folder: RunFolder) -> Any:
    """The trained model as somebody loads it who has the base and what the run wrote, with transformers and PEFT."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    config = folder.config()
    if not config.adapter.is_peft:
        return AutoModelForCausalLM.from_pretrained(str(folder.model)).eval()
    base = model.base_of_artefact(config)
    path = folder.manifest()["assets"]["model"]["path"]
    quantised = base.adapter.bits is not None
    plain = model.load_model(Path(path), base) if quantised else AutoModelForCausalLM.from_pretrained(path)
    # PEFT's AdaLoRA, loaded without training it, fails at a loss; the model within does not.
    return PeftModel.from_pretrained(plain, str(folder.adapter)).eval().get_base_model()


@pytest.mark.parametrize("name", sorted(path.stem for path in ENTRIES.glob("*.yaml")))
def test_an_entry_learns_and_writes_what_it_learnt(root: Path, name: str) -> None:
    folder = run(root, name)
    train(folder)
    result, config = folder.result(), folder.config()
    assert result["eval_loss"] < result["eval_loss_before"] - 0.02
    assert result["trainable_parameters"] == by_formula(folder)
    assert token_mean(artefact(folder), held_out(folder)) == pytest.approx(result["eval_loss"], abs=1e-4)
    saved = weights(folder.adapter if config.adapter.is_peft else folder.model)
    assert all(value.dtype == torch.float32 for value in saved.values())


def test_adalora_cuts_the_ranks_to_what_was_asked_for(root: Path) -> None:
    from peft import AdaLoraConfig

    folder, plain = run(root, "adalora", "ranks", steps=8), run(root, "lora", "ranks-plain", steps=1)
    for each in (folder, plain):
        train(each)
    # The first step's loss has the penalty on top: near 0.5 |0 - I| of rank 6, since first values are small.
    assert losses(folder)[0] - losses(plain)[0] == pytest.approx(0.5 * 6**0.5, abs=0.05)
    config = AdaLoraConfig.from_pretrained(str(folder.adapter))
    kept = {name: sum(ranks) for name, ranks in config.rank_pattern.items()}
    assert len(kept) == 14 and sum(kept.values()) == 14 * 4  # of 14 * 6 at the start
    assert (config.init_r, config.target_r, config.total_step, config.tinit, config.tfinal) == (6, 4, 8, 0, 4)
    saved = weights(folder.adapter)
    for name, rank in kept.items():
        assert len(saved[f"base_model.model.{name}"]) == rank


@pytest.mark.parametrize("name", ["adalora", "pissa", "olora", "loftq", "freeze", "vera"])
def test_interrupted_and_resumed_is_bit_identical(root: Path, name: str) -> None:
    groups: dict[str, Any] = {"adapter": entry(name), "evaluation": {"max_rows": None if name == "loftq" else 0}}
    if name != "freeze":
        groups["adapter"] |= {"dropout": 0.2}
    if name == "loftq":
        groups["adapter"] |= {"bits": None}
    whole = run(root, name, f"{name}-whole", **groups)
    train(whole)
    folder = run(root, name, f"{name}-halved", checkpoint={"interval": 3, "keep": 9}, **groups)
    # What a killed run leaves behind: its checkpoint of step 3, and no end.
    train(folder)
    shutil.rmtree(folder.checkpoints / checkpoint.name_of(6))
    folder.result_file.unlink()
    shutil.rmtree(folder.adapter if folder.adapter.exists() else folder.model)
    train(folder, attempt=2)
    assert [event["step"] for event in folder.events() if event["event"] == "resumed"] == [3]
    found, expected = (weights(each.model if name == "freeze" else each.adapter) for each in (folder, whole))
    assert found.keys() == expected.keys()
    assert [key for key in expected if not torch.equal(found[key], expected[key])] == []
    if name == "loftq":
        # Weights rested in full size; what was written fits those that bitsandbytes quantises.
        assert token_mean(artefact(folder), held_out(folder)) == pytest.approx(folder.result()["eval_loss"], abs=1e-4)
    if name == "adalora":
        settings = [(each.adapter / "adapter_config.json").read_text() for each in (folder, whole)]
        assert settings[0] == settings[1]


@pytest.mark.parametrize("name", ["pissa", "olora"])
def test_first_values_leave_the_model_as_it_was(root: Path, name: str) -> None:
    adapted = run(root, name, f"{name}-start", steps=1)
    plain = run(root, "lora", f"{name}-plain", steps=1)
    for folder in (adapted, plain):
        train(folder)
    assert adapted.result()["eval_loss_before"] == pytest.approx(plain.result()["eval_loss_before"], abs=1e-5)
    saved = json.loads((adapted.adapter / "adapter_config.json").read_text())
    scale = entry(name)["alpha"] / 4
    assert (saved["r"], saved["lora_alpha"] / saved["r"], saved["init_lora_weights"]) == (8, scale, True)


@pytest.mark.parametrize("bits", [4, 8])
def test_loftq_makes_up_for_what_quantisation_takes(root: Path, bits: int) -> None:
    """Logits of the quantised model are nearer to the original's with the first values than without."""
    from transformers import AutoModelForCausalLM

    folder = run(root, "loftq", f"loftq-{bits}", adapter=entry("loftq") | {"bits": None, "loftq_bits": bits, "r": 8})
    base = Path(folder.manifest()["assets"]["model"]["path"])
    original = AutoModelForCausalLM.from_pretrained(str(base))
    weight = original.get_parameter("model.layers.0.mlp.up_proj.weight").detach().clone()
    tuned = adapters.attach(original, folder.config(), 6, base).model
    layer = tuned.get_submodule("base_model.model.model.layers.0.mlp.up_proj")
    left = layer.get_base_layer().weight
    assert torch.equal(left, quantised(weight, bits)) and not torch.equal(left, weight)
    made_up = left + layer.get_delta_weight("default")
    # The best approximation of rank 8, and it is added once, whatever the scale.
    lost = torch.linalg.svdvals((weight - left).float())
    assert float((weight - made_up).norm()) == pytest.approx(float(lost[8:].norm()), rel=1e-3)


def test_frozen_weights_stay_and_the_others_learn(root: Path) -> None:
    kept = run(root, "freeze", "unfrozen", adapter=entry("freeze") | {"last_layers": None, "unfrozen": [r".*q_proj"]})
    last = run(root, "freeze", "last")
    for folder in (kept, last):
        train(folder)
    base = weights(Path(kept.manifest()["assets"]["model"]["path"]))
    changed = [name for name, value in weights(kept.model).items() if not torch.equal(value, base[name])]
    assert sorted(changed) == [f"model.layers.{layer}.self_attn.q_proj.weight" for layer in (0, 1)]
    changed = [name for name, value in weights(last.model).items() if not torch.equal(value, base[name])]
    assert {name.partition(".layers.0.")[0] for name in changed} == set(changed)
    assert {"model.norm.weight", "lm_head.weight", "model.layers.1.input_layernorm.weight"} <= set(changed)
    assert "model.embed_tokens.weight" not in changed


def test_frozen_weights_rest_as_they_compute_and_trained_ones_in_float32(root: Path) -> None:
    from transformers import AutoModelForCausalLM

    base = Path(run(root, "freeze", "formats").manifest()["assets"]["model"]["path"])
    for kept, expected in (("auto", torch.float32), ("bf16", torch.bfloat16)):
        folder = run(root, "freeze", f"formats-{kept}", precision={"compute": "bf16", "weights": kept})
        loaded = AutoModelForCausalLM.from_pretrained(str(base), dtype=model.resting_dtype(folder.config()))
        adapters.attach(loaded, folder.config(), 6, base)
        assert {value.dtype for value in loaded.parameters() if value.requires_grad} == {expected}
        assert {value.dtype for value in loaded.parameters() if not value.requires_grad} == {torch.bfloat16}


def test_a_tied_output_layer_stays_frozen(root: Path) -> None:
    folder = run(root, "freeze", "tied", tied=True)
    train(folder)
    base = Path(folder.manifest()["assets"]["model"]["path"])
    assert folder.result()["trainable_parameters"] == by_formula(folder)
    assert torch.equal(weights(folder.model)["model.embed_tokens.weight"], weights(base)["model.embed_tokens.weight"])
