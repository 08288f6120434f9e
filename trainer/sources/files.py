"""Which files of a model folder or repository are the model: weights, config, tokenizer, and code where asked for."""

import json
from collections.abc import Iterable
from pathlib import Path

from trainer.sources.errors import PickleRefused, SourceUnavailable

SAFE_WEIGHTS = (".safetensors",)
PICKLED_WEIGHTS = (".bin", ".pt", ".pth")
TEXT = (".json", ".jinja", ".txt", ".model", ".tiktoken")
"""Config, tokenizer, vocabulary, chat template."""
INDEX = "model.safetensors.index.json"
_NOT_WEIGHTS = ("training_args.bin", "optimizer", "scheduler", "rng_state", "consolidated", "adapter_model")


def model_files(names: Iterable[str], place: str, allow_pickle: bool, trust_remote_code: bool) -> list[str]:
    """The names to take among those in a model's top folder, sorted.

    Raises SourceUnavailable where there is no config or no weights, PickleRefused where the only weights are
    pickled and that was not asked for. `place` names the folder or repository in messages.
    """
    here = sorted(name for name in names if "/" not in name and not name.startswith("."))
    if "config.json" not in here:
        raise SourceUnavailable(f"{place} has no config.json, so it is no model in Transformers layout")
    weights = [name for name in here if _is_weights(name, SAFE_WEIGHTS)]
    if not weights:
        weights = [name for name in here if _is_weights(name, PICKLED_WEIGHTS)]
        if not weights:
            raise SourceUnavailable(f"{place} has no weights (*.safetensors)")
        if not allow_pickle:
            raise PickleRefused(place, weights[0])
    text = [name for name in here if name.endswith(TEXT)]
    code = [name for name in here if name.endswith(".py")] if trust_remote_code else []
    return sorted({*weights, *text, *code})


def check_shards(folder: Path) -> None:
    """Raise SourceUnavailable where the folder's index names a weight file that is not there."""
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    missing = sorted({name for name in index["weight_map"].values() if not (folder / name).is_file()})
    if missing:
        raise SourceUnavailable(f"{folder} lacks {len(missing)} of its weight files, the first is {missing[0]}")


def _is_weights(name: str, endings: tuple[str, ...]) -> bool:
    return name.endswith(endings) and not name.startswith(_NOT_WEIGHTS)
