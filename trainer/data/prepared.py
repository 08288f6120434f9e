"""Prepared data: rows of a run as token ids and labels in Arrow files of the store, made once for equal inputs.

A folder holds `train/` and, where rows are held out, `eval/` (both as datasets writes them), and `data.json` with
counts. Columns: `input_ids` and `labels` (int32, of one length); in packed training data also `seq_lengths`, the
lengths of the rows in a sequence, from which TRL's collator makes the `position_ids` that keep attention within each
row. Held-out rows are never packed, so that their loss does not depend on packing.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from conf.folder import read_json, write_json
from conf.schema.derive import derive
from conf.schema.run import RunConfig
from trainer.data.labels import Sample, label_rows
from trainer.data.packing import pack
from trainer.data.python_docs import python_docs
from trainer.data.rows import Row, read_rows, split
from trainer.data.tokenizer import load_tokenizer, tokenizer_digest
from trainer.errors import PreparationError
from trainer.store import Store

log = logging.getLogger(__name__)
FORMAT = 1
"""Version of what this file writes; a new one prepares again."""
CHUNK = 1000
"""Sequences of one Arrow record batch."""
Split = Literal["train", "eval"]


class DataChanged(PreparationError):
    """The rows are no longer those that the run was frozen with."""


class NothingToTrain(PreparationError):
    """No row has a token to learn."""


@dataclass(frozen=True)
class DataAsset:
    """Prepared data of a run, with its counts."""

    digest: str
    """sha256 of the prepared files."""
    path: str
    """The folder, absolute."""
    train_rows: int
    """Training rows that are used."""
    eval_rows: int
    """Held-out rows that are used; 0 where none are."""
    sequences: int
    """Training sequences: rows, or packs of rows."""
    tokens: int
    """Tokens of all training sequences."""
    trained_tokens: int
    """Those among them that are learnt."""


def prepare_data(config: RunConfig, model_folder: str, store: Store) -> DataAsset:
    """The run's rows, tokenised with the model's tokenizer, in the store.

    Raises PreparationError: rows that cannot be read, a tokenizer or template that cannot be used, DataChanged,
    NothingToTrain.
    """
    rows = derive(config).data.digest
    if config.data.digest is not None and rows != config.data.digest:
        raise DataChanged(
            f"the rows have changed since this run was frozen: then {config.data.digest}, now {rows}; put the old "
            "ones back, or launch again for a new run"
        )
    made_from = description(config, rows, model_folder)
    entry = store.make("data", made_from, lambda folder: _build(config, made_from, model_folder, folder))
    counts = read_json(entry.path / "data.json")
    names = ("train_rows", "eval_rows", "sequences", "tokens", "trained_tokens")
    return DataAsset(entry.digest, str(entry.path), *(int(counts[name]) for name in names))


def description(config: RunConfig, rows: str | None, model_folder: str) -> dict[str, Any]:
    """Everything that prepared data depends on; `rows` is the digest of their source."""
    data = config.data
    found: dict[str, Any] = {
        "format": FORMAT,
        "rows": rows,
        "tokenizer": tokenizer_digest(model_folder),
        "template": config.model.chat_template,
        "objective": config.method.objective,
        "max_length": data.max_length,
        "packing": data.packing,
    }
    if data.source == "file" and data.eval_path is None:
        found["split"] = [data.eval_fraction, config.seed if data.eval_fraction else None]
    return found


def load(asset_path: str | Path, part: Split) -> Any:
    """One split as a datasets.Dataset, memory-mapped; None where nothing is held out."""
    import datasets

    folder = Path(asset_path) / part
    return datasets.load_from_disk(str(folder)) if folder.is_dir() else None


def _build(config: RunConfig, made_from: dict[str, Any], model_folder: str, folder: Path) -> None:
    train_rows, eval_rows = _rows(config)
    log.info("tokenising %d training rows and %d held-out rows", len(train_rows), len(eval_rows))
    tokenizer = load_tokenizer(model_folder, config.model)
    counts: dict[str, Any] = {"from": made_from}
    train = _samples(train_rows, tokenizer, config, "train", counts)
    held = _samples(eval_rows, tokenizer, config, "eval", counts)
    if not train:
        raise NothingToTrain(
            f"no row has a token to learn within data.max_length={config.data.max_length}: raise data.max_length"
        )
    alone = [[number] for number in range(len(train))]
    packs = pack([len(sample.ids) for sample in train], config.data.max_length) if config.data.packing else alone
    _write(folder / "train", train, packs, packed=config.data.packing)
    if held:
        _write(folder / "eval", held, [[number] for number in range(len(held))], packed=False)
    write_json(folder / "data.json", counts | {"sequences": len(packs)})


def _rows(config: RunConfig) -> tuple[list[Row], list[Row]]:
    data, objective = config.data, config.method.objective
    if data.source == "python_docs":
        train, held = python_docs()
        if objective == "pretrain":
            return _as_text(train), _as_text(held)
        return train, held
    assert data.path is not None, "rule data-path has refused data=file without a path"
    try:
        rows = read_rows(Path(data.path), objective)
        if data.eval_path is not None:
            return rows, read_rows(Path(data.eval_path), objective)
    except OSError as error:
        raise PreparationError(f"the rows cannot be read: {error.filename}: {error.strerror}") from error
    return split(rows, data.eval_fraction, config.seed)


def _as_text(rows: Iterable[Row]) -> list[Row]:
    return [Row(text=row.messages[-1]["content"]) for row in rows]


def _samples(
    rows: Sequence[Row], tokenizer: Any, config: RunConfig, part: Split, counts: dict[str, Any]
) -> list[Sample]:
    """Samples that have something to learn; counts all of them, and those dropped or cut."""
    every = list(label_rows(rows, tokenizer, config.data.max_length))
    kept = [sample for sample in every if sample.trained]
    cut = sum(sample.cut for sample in kept)
    dropped = len(every) - len(kept)
    if cut or dropped:
        log.warning(
            "%s rows: %d cut at data.max_length=%d, %d dropped because nothing to learn was left of them",
            part, cut, config.data.max_length, dropped,
        )  # fmt: skip
    prefix = "" if part == "train" else "eval_"
    counts[f"{part}_rows"] = len(kept)
    counts[f"{prefix}tokens"] = sum(len(sample.ids) for sample in kept)
    counts[f"{prefix}trained_tokens"] = sum(sample.trained for sample in kept)
    counts[f"{prefix}cut_rows"], counts[f"{prefix}dropped_rows"] = cut, dropped
    return kept


def _write(folder: Path, samples: Sequence[Sample], packs: Sequence[Sequence[int]], packed: bool) -> None:
    """One split as an Arrow file. The bytes depend on the contents alone."""
    import datasets
    import pyarrow as pa  # type: ignore[import-untyped]

    datasets.disable_progress_bars()
    batches = []
    for start in range(0, len(packs), CHUNK):
        chunk = packs[start : start + CHUNK]
        columns = {
            "input_ids": _lists([np.concatenate([samples[number].ids for number in one]) for one in chunk], pa),
            "labels": _lists([np.concatenate([samples[number].labels for number in one]) for one in chunk], pa),
        }
        if packed:
            lengths = [np.asarray([len(samples[number].ids) for number in one], np.int32) for one in chunk]
            columns["seq_lengths"] = _lists(lengths, pa)
        batches.append(pa.record_batch(columns))
    table = pa.Table.from_batches(batches)
    dataset = datasets.Dataset(datasets.table.InMemoryTable(table), fingerprint=f"slurmwright-{FORMAT}")
    dataset.save_to_disk(str(folder))


def _lists(arrays: Sequence[Any], pa: Any) -> Any:
    offsets = np.concatenate([[0], np.cumsum([len(array) for array in arrays])]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(arrays)))
