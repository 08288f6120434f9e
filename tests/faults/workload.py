"""The run that is broken: a tiny Llama with dropout everywhere, and rows of chat, where all nodes can see them."""

import hashlib
import json
from pathlib import Path

from conf.folder import RunFolder
from tests.tiny import tiny_llama, tiny_rows

DROPOUT = 0.1


def build(folder: Path, rows: int) -> None:
    """Write the model (`tiny`, 0.15 M parameters) and `rows.jsonl` into a folder. The same bytes each time."""
    tiny_llama(folder / "tiny")
    # A full tune has no adapter whose dropout would draw random numbers: attention does it.
    file = folder / "tiny" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"attention_dropout": DROPOUT}, indent=2) + "\n")
    tiny_rows(folder / "rows.jsonl", rows, seed=1)


def words(folder: Path, *, adapter: str, packing: bool) -> list[str]:
    """What a person would type for such a run, without the size of its world."""
    chosen = [
        "+model=hf", f"model.id={folder / 'tiny'}", "data=file", f"data.path={folder / 'rows.jsonl'}",
        "data.max_length=64", f"data.packing={str(packing).lower()}", f"adapter={adapter}", "tracking=none",
        "method.learning_rate=1e-2" if adapter == "lora" else "method.learning_rate=1e-3",
    ]  # fmt: skip
    return [*chosen, "adapter.r=4", f"adapter.dropout={DROPOUT}"] if adapter == "lora" else chosen


def digest(folder: RunFolder) -> str:
    """sha256 over the final weights' files, byte for byte. Raises FileNotFoundError where there are none."""
    place = folder.adapter if folder.adapter.is_dir() else folder.model
    files = sorted(place.glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(f"{place} has no weights")
    total = hashlib.sha256()
    for file in files:
        total.update(file.name.encode() + b"\0" + file.read_bytes())
    return total.hexdigest()
