"""What rules compute with: time limits, memory, and what the weights of a model take."""

import pytest

from conf.schema.resting import resting_bytes
from conf.schema.rules.cluster import seconds
from conf.schema.rules.context import stretched_context
from conf.schema.rules.memory import memory_of_node
from launcher.resolve import resolve

GIB = 2**30


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("90", 5400),
        ("90:30", 5430),
        ("2:00:00", 7200),
        ("1-12", 129600),
        ("1-12:30", 131400),
        ("1-12:30:10", 131410),
        ("0", 0),
    ],
)
def test_a_time_limit_is_read_as_slurm_reads_it(limit: str, expected: int) -> None:
    assert seconds(limit) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("4G", 4 * GIB), ("512", 512 * 2**20), ("2T", 2 * 2**40), ("0", None), (None, None), ("all", None)],
)
def test_memory_is_read_as_slurm_reads_it(text: str | None, expected: int | None) -> None:
    assert memory_of_node(text) == expected


def test_a_context_is_stretched_by_any_factor() -> None:
    assert stretched_context(4096, None) == 4096
    assert stretched_context(4096, 2.5) == 10240
    assert stretched_context(10**400, 1e308) == 2**62


def test_quantised_weights_take_less_but_for_embeddings_and_experts() -> None:
    plain, packed = (
        resolve(["model=llama3_8b", "cluster=1xh100", f"adapter={name}"]).config for name in ("lora", "qlora")
    )
    assert resting_bytes(plain) == 8030261248 * 2
    outer = 2 * 128256 * 4096
    assert resting_bytes(packed) == outer * 2 + (8030261248 - 4096 * 65 - outer) // 2


def test_a_sparse_model_is_sharded_where_its_experts_stay_in_16_bits() -> None:
    assert resolve(["model=mixtral_8x7b", "cluster=8xh100", "adapter=qlora"]).config.parallel.strategy == "fsdp2"


@pytest.mark.parametrize(("capability", "expected"), [("7.5", "fp16"), ("8.0", "bf16"), ("null", "bf16")])
def test_auto_computes_in_what_the_device_has_units_for(capability: str, expected: str) -> None:
    words = ["model=smollm2_135m", "cluster=1xh100", f"gpu.compute_capability={capability}"]
    assert resolve(words).config.precision.compute == expected
