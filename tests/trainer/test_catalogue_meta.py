"""The catalogue against the real classes: transformers on the meta device, and PEFT's LoRA on top of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from conf.schema.config_json import architecture_from
from conf.schema.model import Architecture, ModelConfig
from conf.schema.sizes import lora_parameter_count, parameter_count

pytestmark = pytest.mark.train

MODELS = Path(__file__).parents[2] / "conf" / "model"
R = 8
EXPERTS = {
    "mixtral": "num_local_experts",
    "phimoe": "num_local_experts",
    "qwen2_moe": "num_experts",
    "qwen3_moe": "num_experts",
    "deepseek_v2": "n_routed_experts",
    "deepseek_v3": "n_routed_experts",
    "granitemoe": "num_local_experts",
}
"""How each family's config.json names the number of routed experts."""


def entries() -> Iterator[tuple[str, ModelConfig]]:
    for file in sorted(MODELS.glob("*.yaml")):
        config = ModelConfig.model_validate(yaml.safe_load(file.read_text()))
        if config.architecture is not None:
            yield file.stem, config


def groups() -> list[Any]:
    """Entries of one shape together, since they make one and the same class."""
    found: dict[str, tuple[list[str], ModelConfig]] = {}
    for name, config in entries():
        assert config.architecture is not None
        context = {"max_position_embeddings", "rope_theta", "rope_scaling", "sliding_window"}
        key = f"{config.architecture.model_dump(exclude=context)} {config.targets}"
        found.setdefault(key, ([], config))[0].append(name)
    return [pytest.param(config, id=",".join(names)) for names, config in found.values()]


def transformers_config(shape: Architecture) -> Any:
    """The configuration that transformers would read from this model's config.json."""
    from transformers import AutoConfig

    renamed = {"family", "num_experts", "rope_theta", "rope_scaling", "shared_expert_intermediate_size", "head_dim"}
    values = {key: value for key, value in shape.model_dump(exclude=renamed).items() if value is not None}
    rope: dict[str, Any] = {"rope_theta": shape.rope_theta, "rope_type": "default"}
    if shape.rope_scaling is not None:
        rope |= shape.rope_scaling.model_dump(exclude_none=True)
    if rope["rope_type"] == "llama3":
        rope |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    if rope["rope_type"] == "longrope":
        half = shape.head_dim // 2
        rope |= {"short_factor": [1.0] * half, "long_factor": [2.0] * half}
        values["original_max_position_embeddings"] = rope["original_max_position_embeddings"]
    if shape.family == "phimoe":
        rope |= {"short_mscale": 1.0, "long_mscale": 1.0}
    values["rope_parameters"] = rope
    if shape.family == "gemma3_text":
        local = {"rope_type": "default", "rope_theta": 10000.0}
        values["rope_parameters"] = {"full_attention": rope, "sliding_attention": local}
    if shape.kv_lora_rank is None:
        values["head_dim"] = shape.head_dim
    else:
        values["q_lora_rank"] = shape.q_lora_rank
        values |= {"n_group": 1, "topk_group": 1}
    values["sliding_window"] = shape.sliding_window
    values["use_sliding_window"] = shape.sliding_window is not None
    if shape.num_experts is not None:
        values[EXPERTS[shape.family]] = shape.num_experts
        if shape.family.startswith("deepseek"):
            assert shape.shared_expert_intermediate_size and shape.moe_intermediate_size
            values["n_shared_experts"] = shape.shared_expert_intermediate_size // shape.moe_intermediate_size
    if shape.family == "qwen2_moe":
        values["shared_expert_intermediate_size"] = shape.shared_expert_intermediate_size
    return AutoConfig.for_model(shape.family, **values, pad_token_id=None, bos_token_id=None, eos_token_id=None)


def on_meta(shape: Architecture) -> Any:
    """The model's real class with tensors that have shapes and no contents."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(transformers_config(shape))


def trainable(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def with_lora(model: Any, targets: Any) -> int:
    from peft import LoraConfig, get_peft_model

    return trainable(get_peft_model(model, LoraConfig(r=R, target_modules=targets), low_cpu_mem_usage=True))


@pytest.mark.parametrize("config", groups())
def test_counts_are_those_of_the_class_and_of_peft(config: ModelConfig) -> None:
    shape = config.architecture
    assert shape is not None
    model = on_meta(shape)
    assert parameter_count(shape) == trainable(model)
    assert lora_parameter_count(shape, R, config.targets) == with_lora(model, config.targets)


def families() -> list[Any]:
    smallest: dict[str, tuple[int, ModelConfig]] = {}
    for _, config in entries():
        assert config.architecture is not None
        size = parameter_count(config.architecture)
        smallest.setdefault(config.architecture.family, (size, config))
        if size < smallest[config.architecture.family][0]:
            smallest[config.architecture.family] = (size, config)
    return [pytest.param(config, id=family) for family, (_, config) in sorted(smallest.items())]


@pytest.mark.parametrize("config", families())
def test_all_linear_is_pefts_all_linear(config: ModelConfig) -> None:
    shape = config.architecture
    assert shape is not None
    shape = shape.model_copy(update={"num_hidden_layers": 3})
    assert lora_parameter_count(shape, R, ["all-linear"]) == with_lora(on_meta(shape), "all-linear")


@pytest.mark.parametrize("config", [pytest.param(config, id=name) for name, config in entries()])
def test_the_architecture_comes_back_from_the_config_that_transformers_writes(
    config: ModelConfig, tmp_path: Path
) -> None:
    """Transformers leaves out what its class has as a default, and so do the files that publishers upload."""
    assert config.architecture is not None
    transformers_config(config.architecture).save_pretrained(tmp_path)
    assert architecture_from(tmp_path / "config.json") == config.architecture


@pytest.mark.parametrize("switch", ["attention_bias", "mlp_bias"])
def test_biases_that_llama_leaves_open_count(switch: str) -> None:
    entry = dict(entries())["smollm2_135m"].architecture
    assert entry is not None
    shape = entry.model_copy(update={switch: True, "num_hidden_layers": 2})
    assert parameter_count(shape) == trainable(on_meta(shape))


def test_half_of_a_stacked_pair_is_refused_here_as_by_peft() -> None:
    config = dict(entries())["qwen3_30b_a3b"].architecture
    assert config is not None
    shape = config.model_copy(update={"num_hidden_layers": 1})
    with pytest.raises(ValueError, match="gate_proj and up_proj are one stacked weight"):
        lora_parameter_count(shape, R, ["gate_proj"])
    with pytest.raises(ValueError, match="fused"):
        with_lora(on_meta(shape), ["gate_proj"])
