"""Every entry of the catalogue composes, is valid, and counts what its publisher says."""

import json
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from conf.schema.cluster import ClusterConfig, GpuConfig
from conf.schema.config_json import architecture_from
from conf.schema.model import Architecture, ModelConfig
from conf.schema.sizes import lora_parameter_count, matrices, parameter_count

CONF = Path(__file__).parents[2] / "conf"
DEVICES = ("rtx4090", "l40s", "a100_40", "a100_80", "h100", "h200", "b200", "mi300x")
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
    gemma = ModelConfig.model_validate(OmegaConf.to_container(OmegaConf.load(CONF / "model" / "gemma3_4b.yaml")))
    assert architecture_from(path) == gemma.architecture


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
