"""Trials share weights and data only where the trainer would make the very same for each by itself."""

from pathlib import Path

import pytest

from conf.schema.problems import ConfigProblems
from launcher.resolve import resolve
from sweeps.assets import key
from tests.tiny import tiny_llama, tiny_rows
from trainer.data.description import description

CHANGES = [
    "seed=7", "data.eval_rows=8", "data.eval_fraction=0.5", "data.max_length=128", "data.packing=true",
    "method.objective=pretrain", "data.streaming=true", "method.max_steps=9", "batch.global=2", "adapter.r=4",
    "method.learning_rate=1e-3", "data.order=length", "data.learn=all", "model.chat_template=chatml",
]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("assets")
    tiny_llama(folder / "tiny")
    tiny_rows(folder / "rows.jsonl", 12)
    return folder


@pytest.mark.parametrize(
    "base",
    [
        ["data.eval_rows=2"],
        ["data.eval_fraction=0"],
        ["data.streaming=true", "method.max_steps=5", "batch.global=4", "data.eval_fraction=0"],
    ],
)
def test_an_equal_key_means_equal_data(base: list[str], home: Path) -> None:
    words = ["model=hf", f"model.id={home / 'tiny'}", "data=file", f"data.path={home / 'rows.jsonl'}", "cluster=local"]
    base = [*base, "data.max_length=256"]
    lines = [[*words, *base], *([*words, *_without(base, change), change] for change in CHANGES)]
    seen: dict[str, object] = {}
    shared = 0
    for line in lines:
        try:
            config = resolve(line).config
        except ConfigProblems:
            continue  # these two do not go together
        made_from = description(config, config.data.digest, str(home / "tiny"))
        before = seen.setdefault(key(config), made_from)
        assert before == made_from, f"{line[-1]} shares data that differ"
        shared += before is not made_from
    assert shared >= 2, "the adapter's rank and the learning rate change no data"


def _without(base: list[str], change: str) -> list[str]:
    """The words of a line but the one that the change takes the place of."""
    return [word for word in base if word.partition("=")[0] != change.partition("=")[0]]
