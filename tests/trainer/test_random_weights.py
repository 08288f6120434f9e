"""model.random_weights: drawn from the seed, once, in place of the published ones; and trained from."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from conf.folder import RunFolder
from conf.schema.derive import derive
from conf.schema.run import RunConfig
from tests.tiny import tiny_llama, tiny_rows
from tests.trainer.runs import train, weights
from trainer.prepare import prepare

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("random")
    tiny_llama(made / "model", seed=7)
    tiny_rows(made / "rows.jsonl", 40)
    return made


def frozen(root: Path, name: str, seed: int = 1, world: int = 1, **groups: Any) -> RunFolder:
    values: dict[str, Any] = {
        "seed": seed,
        "model": {"id": str(root / "model"), "random_weights": True},
        "adapter": {"kind": "full"},
        "data": {"source": "file", "path": str(root / "rows.jsonl"), "max_length": 64},
        "method": {"max_steps": 6, "learning_rate": 5e-3},
        "batch": {"global": 4, "micro": 1},
        "cluster": {"kind": "local", "devices_per_node": world},
        "tracking": {"name": "none"},
        "run": {"root": str(root)},
        "store": {"root": str(root / "store")},
    }
    folder = RunFolder(root / name)
    folder.attempts.mkdir(parents=True)
    folder.config_file.write_text(yaml.safe_dump(derive(RunConfig.model_validate(values | groups)).dump()))
    return folder


def test_the_seed_decides_them_and_nothing_published_is_left(root: Path) -> None:
    one, again, other = (prepare(frozen(root, f"seed {n}", seed)).model for n, seed in enumerate((1, 1, 2)))
    assert one == again
    assert one.digest != other.digest
    drawn, published, others = (weights(path) for path in (Path(one.path), root / "model", Path(other.path)))
    assert {name: value.shape for name, value in drawn.items()} == {
        name: value.shape for name, value in published.items()
    }
    matrices = [name for name, value in drawn.items() if value.dim() > 1]
    assert len(matrices) == 16
    for name in matrices:
        assert drawn[name].dtype == torch.float32
        assert drawn[name].std() == pytest.approx(0.02, rel=0.1)
        assert not torch.equal(drawn[name], published[name])
        assert not torch.equal(drawn[name], others[name])
    assert all(torch.equal(value, torch.ones_like(value)) for value in drawn.values() if value.dim() == 1)


def test_a_store_that_is_gone_is_drawn_again_the_same(root: Path) -> None:
    folder = frozen(root, "gone", seed=5)
    before = prepare(folder)
    torch.rand(1)
    state = torch.random.get_rng_state()
    Path(before.model.path).rename(root / "away")
    assert prepare(folder) == before
    assert torch.equal(torch.random.get_rng_state(), state)


def test_training_begins_with_them_whatever_the_layout(root: Path) -> None:
    found = []
    for strategy, world in (("ddp", 1), ("fsdp2", 2)):
        folder = frozen(root, strategy, world=world, parallel={"strategy": strategy})
        prepare(folder)
        train(folder, world=world)
        found.append(folder.result())
    chance = torch.log(torch.tensor(512.0)).item()
    for result in found:
        assert result["eval_loss_before"] == pytest.approx(chance, abs=0.1)
        assert result["eval_loss"] < result["eval_loss_before"] - 0.5
    assert found[0]["eval_loss_before"] == pytest.approx(found[1]["eval_loss_before"], abs=1e-5)
    config = json.loads((root / "ddp" / "model" / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
