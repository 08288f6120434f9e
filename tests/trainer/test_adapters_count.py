"""How many parameters an adapter trains, by formula and by PEFT itself, on the meta device, for every family."""

from pathlib import Path
from typing import Any

import pytest

from conf.schema.adapter import AdapterConfig
from conf.schema.model import Architecture, ModelConfig
from conf.schema.run import RunConfig
from conf.schema.trainable import trainable_count
from tests.trainer.test_catalogue_meta import families, on_meta, trainable
from trainer import adapters
from trainer.failure import WorkerError

pytestmark = pytest.mark.train

CHOICES: dict[str, dict[str, Any]] = {
    "lora": {"r": 8},
    "dora": {"r": 8, "dora": True},
    "rslora": {"r": 64, "rslora": True},
    "adalora": {"kind": "adalora", "r": 5},
    "adalora-init": {"kind": "adalora", "r": 4, "init_r": 9},
    "vera": {"kind": "vera", "r": 32},
    "ia3": {"kind": "ia3"},
    "freeze": {"kind": "freeze", "last_layers": 2},
    "freeze-all": {"kind": "freeze", "last_layers": 3},
    "full": {"kind": "full"},
    "layers": {"r": 8, "layers": [0, 2]},
    "ia3-layers": {"kind": "ia3", "layers": [1]},
    "vera-layers": {"kind": "vera", "r": 8, "layers": [1, 2], "targets": ["all-linear"]},
    "saved": {"r": 8, "modules_to_save": ["embed_tokens", "lm_head"]},
}


def of_peft(shape: Architecture, adapter: AdapterConfig) -> int | None:
    """Trained parameters of the real class with the adapter attached as a run does it; None where PEFT refuses."""
    config = RunConfig(adapter=adapter)
    try:
        model = adapters.attach(on_meta(shape), config, 100, Path("none")).model
    except (ValueError, TypeError, WorkerError):
        return None
    # On the meta device AdaLoRA's note of its rank is a new tensor, which says that it is trained.
    notes = sum(value.numel() for name, value in model.named_parameters() if ".ranknum." in name)
    return int(trainable(model) - notes)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("model", families())
def test_counts_are_those_of_peft(model: ModelConfig, choice: str) -> None:
    assert model.architecture is not None
    shape = model.architecture.model_copy(update={"num_hidden_layers": 3})
    adapter = AdapterConfig.model_validate(CHOICES[choice])
    if adapter.targets is None and adapter.is_peft and adapter.kind != "ia3":
        adapter.targets = model.targets
    assert trainable_count(shape, adapter) == of_peft(shape, adapter)
