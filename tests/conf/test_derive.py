"""What follows from what: batch, layout, precision, places, digests."""

import json
from pathlib import Path

import pytest

from conf.schema.derive import derive
from conf.schema.rules import check
from conf.schema.run import RunConfig


def config(**groups: object) -> RunConfig:
    return RunConfig.model_validate(groups)


def batch(world: int, **given: int) -> tuple[int | None, int | None, int | None]:
    gpu = {"device": "cuda", "memory_gib": 80}
    made = derive(config(cluster={"nodes": world}, batch=given, model={"parameters": 10**8}, gpu=gpu)).batch
    return made.global_, made.micro, made.accumulation


@pytest.mark.parametrize(
    ("world", "given", "expected"),
    [
        (1, {}, (8, 4, 2)),
        (16, {}, (16, 1, 1)),
        (3, {}, (9, 3, 1)),
        (4, {"global": 64}, (64, 4, 4)),
        (4, {"global": 64, "micro": 2}, (64, 2, 8)),
        (4, {"global": 64, "accumulation": 2}, (64, 8, 2)),
        (4, {"micro": 2, "accumulation": 3}, (24, 2, 3)),
        (4, {"micro": 2}, (8, 2, 1)),
        (2, {"accumulation": 5}, (40, 4, 5)),
        (2, {"global": 6}, (6, 3, 1)),
    ],
)
def test_two_of_three_determine_the_third(world: int, given: dict[str, int], expected: tuple[int, int, int]) -> None:
    assert batch(world, **given) == expected
    assert world * expected[1] * expected[2] == expected[0]


@pytest.mark.parametrize("given", [{"global": 7}, {"global": 16, "micro": 3}, {"global": 2}])
def test_what_does_not_divide_stays_open_for_the_rule(given: dict[str, int]) -> None:
    made = derive(config(cluster={"nodes": 4}, batch=given))
    assert None in (made.batch.micro, made.batch.accumulation)
    assert [problem.rule for problem in check(made) if problem.field == "batch.global"] == ["batch-arithmetic"]


def test_large_models_begin_with_small_batches() -> None:
    gpu = {"device": "cuda", "memory_gib": 80}
    micro = [derive(config(model={"parameters": size}, gpu=gpu)).batch.micro for size in (10**8, 10**9, 10**10)]
    assert micro == [4, 2, 1]
    assert derive(config(model={"parameters": 10**8})).batch.micro == 1


@pytest.mark.parametrize(
    ("parameters", "adapter", "expected"),
    [
        (8 * 10**9, {}, "ddp"),
        (70 * 10**9, {}, "fsdp2"),
        (70 * 10**9, {"bits": 4}, "ddp"),
        (8 * 10**9, {"kind": "full"}, "fsdp2"),
    ],
)
def test_auto_shards_what_does_not_fit_one_device(parameters: int, adapter: dict[str, object], expected: str) -> None:
    gpu = {"device": "cuda", "memory_gib": 80}
    made = derive(config(model={"parameters": parameters}, adapter=adapter, gpu=gpu, cluster={"devices_per_node": 8}))
    assert made.parallel.strategy == expected
    alone = derive(config(model={"parameters": parameters}, adapter=adapter, gpu=gpu))
    assert alone.parallel.strategy == "ddp"


def test_the_device_decides_precision_and_checkpointing() -> None:
    cpu, gpu = derive(config()), derive(config(gpu={"device": "cuda"}))
    assert (cpu.precision.compute, cpu.method.gradient_checkpointing) == ("fp32", False)
    assert (gpu.precision.compute, gpu.method.gradient_checkpointing) == ("bf16", True)
    assert derive(config(gpu={"device": "cuda"}, precision={"compute": "fp32"})).precision.compute == "fp32"


def test_method_takes_what_adapter_and_data_say() -> None:
    made = derive(config(adapter={"learning_rate": 0.5}, data={"epochs": 3}))
    assert (made.method.learning_rate, made.method.epochs) == (0.5, 3.0)
    assert derive(config(method={"max_steps": 4})).method.epochs is None


def test_targets_come_from_the_model() -> None:
    assert derive(config(model={"targets": ["q_proj"]})).adapter.targets == ["q_proj"]
    assert derive(config()).adapter.targets == ["all-linear"]
    assert derive(config(adapter={"kind": "full"})).adapter.targets is None


def test_the_digest_of_rows_follows_their_content_not_their_place(tmp_path: Path) -> None:
    def digest(name: str, text: str) -> str | None:
        (tmp_path / name).write_text(text)
        return derive(config(data={"source": "file", "path": str(tmp_path / name)})).data.digest

    assert digest("a.jsonl", "1\n") == digest("b.jsonl", "1\n") != digest("c.jsonl", "2\n")
    assert derive(config(data={"source": "file", "path": str(tmp_path / "none.jsonl")})).data.digest is None


def test_a_local_folder_is_found_and_read(tmp_path: Path) -> None:
    shape = {
        "model_type": "llama", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "vocab_size": 32, "max_position_embeddings": 64,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(shape))
    made = derive(config(model={"id": str(tmp_path)})).model
    assert (made.source, made.architecture and made.architecture.hidden_size) == ("folder", 8)
    assert made.parameters


def test_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLURMWRIGHT_STORE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = derive(config())
    assert (made.run.root, made.store.root) == (str(tmp_path / "runs"), str(tmp_path / "cache" / "slurmwright"))
    monkeypatch.setenv("SLURMWRIGHT_STORE", str(tmp_path / "store"))
    assert derive(config()).store.root == str(tmp_path / "store")


def test_deriving_again_changes_nothing() -> None:
    once = derive(config(cluster={"nodes": 3}, gpu={"device": "cuda", "memory_gib": 80}))
    assert derive(once) == once


def test_the_learning_rate_is_scaled_to_the_models_width() -> None:
    """(4096 / 576)^0.781 = 4.63: narrow models take more."""
    shape = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 2, "num_attention_heads": 9}
    shape |= {"num_key_value_heads": 3, "head_dim": 64, "vocab_size": 100, "max_position_embeddings": 512}
    narrow = derive(config(model={"architecture": shape}))
    assert narrow.method.learning_rate == 9.3e-4
    assert derive(config(model={"architecture": shape | {"hidden_size": 4096}})).method.learning_rate == 2e-4
    assert derive(config(model={"architecture": shape}, method={"learning_rate": 3e-5})).method.learning_rate == 3e-5
