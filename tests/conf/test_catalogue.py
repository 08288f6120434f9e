"""Every entry of the catalogue composes, is valid, and counts what its publisher says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from conf.schema.cluster import ClusterConfig, GpuConfig
from conf.schema.config_json import architecture_from
from conf.schema.model import Architecture, ModelConfig
from conf.schema.sizes import ALL_LINEAR, lora_parameter_count, matrices, parameter_count, targeted

CONF = Path(__file__).parents[2] / "conf"
DEVICES = ("rtx4090", "l40s", "a100_40", "a100_80", "h100", "h200", "b200", "mi300x")
FAMILIES = {
    "llama2": "7b 13b 70b",
    "llama3": "8b 70b",
    "llama3_1": "8b 70b 405b",
    "llama3_2": "1b 3b",
    "llama3_3": "70b",
    "mistral": "7b_v0_1 7b_v0_2 7b small_22b small_24b",
    "mixtral": "8x7b 8x22b",
    "gemma": "2b 7b",
    "gemma2": "2b 9b 27b",
    "gemma3": "270m 1b 4b 12b 27b",
    "qwen1_5": "0_5b 1_8b 4b 7b 14b 32b 72b 110b moe_a2_7b",
    "qwen2": "0_5b 1_5b 7b 72b 57b_a14b",
    "qwen2_5": "0_5b 1_5b 3b 7b 14b 32b 72b",
    "qwen3": "0_6b 1_7b 4b 8b 14b 32b 30b_a3b 235b_a22b 4b_2507 30b_a3b_2507 235b_a22b_2507",
    "phi2": "",
    "phi3": "mini mini_128k medium medium_128k",
    "phi3_5": "mini moe",
    "phi4": "",
    "phi4_mini": "",
    "deepseek_v2": "",
    "deepseek_v2_lite": "",
    "deepseek_v3": "",
    "yi": "6b 9b 34b",
    "yi1_5": "6b 9b 34b",
    "codellama": "7b 13b 34b 70b",
    "starcoder2": "3b 7b 15b",
    "granite3_1": "1b_a400m 3b_a800m",
    "granite3_3": "2b 8b",
    "smollm2": "135m 360m 1_7b",
    "olmo2": "1b 7b 13b 32b",
}
"""Published families, each with its sizes; one without sizes is one model."""
BASE_ONLY = {"phi2", "starcoder2_3b", "starcoder2_7b", "yi_9b"}
"""Models of which no tuned one was published at their size, and whose tokenizers have no chat template."""
SHAPE = Architecture(
    hidden_size=8,
    intermediate_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=4,
    vocab_size=10,
    max_position_embeddings=32,
)


def names(group: str) -> list[str]:
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def composed(folder: Path, *overrides: str) -> dict[str, Any]:
    """A composition of the catalogue alone: model, gpu and cluster, by Hydra's own means."""
    root = "defaults:\n  - model: hf\n  - gpu: none\n  - cluster: local\n  - _self_\n"
    (folder / "root.yaml").write_text(f"{root}hydra:\n  searchpath:\n    - file://{CONF}\n")
    with initialize_config_dir(str(folder), version_base=None):
        found = OmegaConf.to_container(compose("root", overrides=list(overrides)))
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


@pytest.mark.parametrize("name", names("model"))
def test_a_model_composes_and_counts_what_is_published(name: str, tmp_path: Path) -> None:
    model = ModelConfig.model_validate(composed(tmp_path, f"model={name}")["model"])
    assert model.name == name
    if name == "hf":
        return
    assert model.architecture is not None and model.published is not None and model.licence
    assert model.published.source.startswith("https://") and "/" in model.id
    assert parameter_count(model.architecture) == pytest.approx(model.published.parameters, rel=1e-3)
    layers = {matrix.leaf for matrix in matrices(model.architecture) if matrix.kind == "linear"}
    assert lora_parameter_count(model.architecture, 8, model.targets) > 0
    assert set(model.targets) <= layers | {"w1", "w2", "w3", "gate_proj", "up_proj", "down_proj"}


def entry(name: str) -> tuple[ModelConfig, str]:
    """A model as its own file has it, and the file's text."""
    text = (CONF / "model" / f"{name}.yaml").read_text()
    tree = OmegaConf.to_container(OmegaConf.create(text))
    return ModelConfig.model_validate(tree), text


def test_every_family_is_there_with_all_its_sizes() -> None:
    wanted = {f"{family}_{size}" for family, sizes in FAMILIES.items() for size in sizes.split()}
    wanted |= {family for family, sizes in FAMILIES.items() if not sizes}
    assert wanted - set(names("model")) == set()


@pytest.mark.parametrize("name", [name for name in names("model") if name != "hf"])
def test_a_model_is_described_as_its_facts_have_it(name: str) -> None:
    model, text = entry(name)
    first, shape = text.partition("\n")[0], model.architecture
    assert shape is not None and first.endswith(".")
    assert f"{shape.max_position_embeddings // 1024}k context" in first
    assert model.has_chat_template == (name not in BASE_ONLY) == ("without a chat template" not in first)
    if shape.num_experts is not None:
        assert f": {shape.num_experts} experts, {shape.num_experts_per_tok} " in first
        reached = [
            any(matrix.kind == "experts" for matrix, _ in targeted(shape, targets))
            for targets in (model.targets, [ALL_LINEAR])
        ]
        assert reached[0] == reached[1] == ("adapters reach" not in first)


def test_what_could_not_be_checked_is_said() -> None:
    """Next to the mark, for people; the verb `catalogue` shows the mark."""
    for name in names("model"):
        model, text = entry(name)
        marked = model.published is not None and model.published.unverified
        assert marked == (re.search(r"^  unverified: true # unconfirmed: \w", text, re.M) is not None), name


@pytest.mark.parametrize("group", ["model", "gpu", "cluster"])
def test_every_entry_is_named_as_its_file_and_described_in_its_first_line(group: str) -> None:
    for name in names(group):
        text = (CONF / group / f"{name}.yaml").read_text()
        assert text.startswith("# ") and f"\nname: {name}\n" in text


def test_a_gpu_has_all_its_facts_and_their_source() -> None:
    assert set(DEVICES) | {"none"} == set(names("gpu"))
    for name in DEVICES:
        gpu = GpuConfig.model_validate(OmegaConf.to_container(OmegaConf.load(CONF / "gpu" / f"{name}.yaml")))
        assert gpu.device == "cuda" and gpu.memory_gib and gpu.bf16_tflops and gpu.bandwidth_gb_s
        assert gpu.type == name.partition("_")[0] and gpu.source.startswith("https://")
        assert (gpu.compute_capability is None) == (name == "mi300x")


@pytest.mark.parametrize("count", [1, 2, 4, 8])
@pytest.mark.parametrize("device", DEVICES)
def test_a_cluster_brings_its_gpu(device: str, count: int, tmp_path: Path) -> None:
    tree = composed(tmp_path, f"cluster={count}x{device}")
    cluster, gpu = ClusterConfig.model_validate(tree["cluster"]), GpuConfig.model_validate(tree["gpu"])
    assert (cluster.kind, cluster.nodes, cluster.devices_per_node, gpu.name) == ("slurm", 1, count, device)


def test_lora_counts_what_is_named() -> None:
    q, down, output = 2 * 4 * (8 + 8), 2 * 4 * (16 + 8), 4 * (8 + 10)
    assert lora_parameter_count(SHAPE, 4, ["q_proj"]) == q
    assert lora_parameter_count(SHAPE, 4, ["self_attn.q_proj", "mlp.down_proj"]) == q + down
    assert lora_parameter_count(SHAPE, 4, ["lm_head"]) == output
    assert lora_parameter_count(SHAPE, 4, ["nothing", "proj"]) == 0
    every = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    assert lora_parameter_count(SHAPE, 4, ["all-linear"]) == lora_parameter_count(SHAPE, 4, every)


def test_a_tied_output_counts_once() -> None:
    tied = SHAPE.model_copy(update={"tie_word_embeddings": True})
    assert parameter_count(SHAPE) - parameter_count(tied) == 8 * 10


def test_config_json_as_older_versions_wrote_it(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    text = {
        "model_type": "gemma3_text",
        "hidden_size": 2560,
        "num_hidden_layers": 34,
        "intermediate_size": 10240,
        "sliding_window": 1024,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
    }
    path.write_text(json.dumps({"model_type": "gemma3", "text_config": text}))
    assert architecture_from(path) == entry("gemma3_4b")[0].architecture


def test_config_json_of_a_mixture_as_its_publisher_wrote_it(tmp_path: Path) -> None:
    """Facts of https://huggingface.co/ibm-granite/granite-3.1-1b-a400m-instruct/blob/main/config.json."""
    path = tmp_path / "config.json"
    raw = {
        "attention_bias": False,
        "hidden_size": 1024,
        "intermediate_size": 512,
        "max_position_embeddings": 131072,
        "model_type": "granitemoe",
        "num_attention_heads": 16,
        "num_experts_per_tok": 8,
        "num_hidden_layers": 24,
        "num_key_value_heads": 8,
        "num_local_experts": 32,
        "rope_scaling": None,
        "rope_theta": 1500000.0,
        "tie_word_embeddings": True,
        "vocab_size": 49155,
    }
    path.write_text(json.dumps(raw))
    assert architecture_from(path) == entry("granite3_1_1b_a400m")[0].architecture


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"model_type": "llama"}', '{"model_type": "bert", "hidden_size": 8}', '{"text_config": 3}'],
)
def test_a_config_json_that_says_too_little_gives_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    assert architecture_from(tmp_path / "config.json") is None
    assert architecture_from(tmp_path / "missing.json") is None


@pytest.mark.parametrize("switch", [{"use_bias": False}, {"mlp_only_layers": [1]}, {"qk_layernorm": True}])
def test_a_switch_that_changes_tensors_in_ways_not_counted_gives_nothing(
    switch: dict[str, Any], tmp_path: Path
) -> None:
    keep = set(Architecture.model_fields) - {"family", "rope_scaling"}
    plain = {"model_type": "llama"} | SHAPE.model_dump(include=keep, exclude_none=True)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(plain))
    assert architecture_from(path) == SHAPE
    path.write_text(json.dumps(plain | switch))
    assert architecture_from(path) is None
