"""Prepared data: rows of a run as token ids and labels in Arrow files of the store, made once for equal inputs.

A folder holds `train/` and, where rows are held out, `eval/` (both as datasets writes them), and `data.json` with
counts. Columns: `input_ids` and `labels` (int32, of one length); in packed training data also `seq_lengths`, the
lengths of the rows in a sequence, from which TRL's collator makes the `position_ids` that keep attention within each
row. Held-out rows are never packed, so that their loss does not depend on packing.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from conf.folder import read_json, write_json
from conf.schema.derive import derive
from conf.schema.rows import held_out_sets, source_of, train_sets
from conf.schema.run import RunConfig
from trainer.data.description import FORMAT, description, sequences_needed
from trainer.data.labels import Sample
from trainer.data.packing import pack
from trainer.data.python_docs import python_docs
from trainer.data.rows import Row
from trainer.data.samples import Split, collect
from trainer.data.sets import Commits, commits, stream, whole
from trainer.data.tokenizer import highest_token, load_tokenizer
from trainer.errors import PreparationError
from trainer.store import Store

log = logging.getLogger(__name__)
CHUNK = 1000
"""Sequences of one Arrow record batch."""


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
    revisions: dict[str, str] = field(default_factory=dict)
    """Commits of the hub's datasets, as far as the hub told them, and digests of files behind addresses."""


def prepare_data(config: RunConfig, tokenizer_folder: str, store: Store, revisions: Commits | None = None) -> DataAsset:
    """The run's rows, tokenised with the tokenizer of a folder, in the store. `revisions` are the commits of
    the hub's datasets that the run has begun with.

    Raises PreparationError: rows that cannot be read, a tokenizer or template that cannot be used, DataChanged,
    NothingToTrain.
    """
    rows = derive(config).data.digest
    if config.data.digest is not None and rows != config.data.digest:
        raise DataChanged(
            f"the rows have changed since this run was frozen: then {config.data.digest}, now {rows}; put the old "
            "ones back, or launch again for a new run"
        )
    made_from = description(config, rows, tokenizer_folder)
    known = revisions or commits(config, store)
    found = None if known or not _is_away(config) else store.find("data", made_from)
    if found is not None:
        entry = found
        known = read_json(entry.path / "data.json").get("revisions", {})
    else:
        exact = made_from | {"revisions": known} if known else made_from
        entry = store.make("data", exact, lambda folder: _build(config, exact, tokenizer_folder, known, folder))
        if known:
            store.also("data", made_from, entry)  # for a time without the hub
    counts = read_json(entry.path / "data.json")
    names = ("train_rows", "eval_rows", "sequences", "tokens", "trained_tokens")
    told: dict[str, Any] = {name: int(counts[name]) for name in names}
    return DataAsset(entry.digest, str(entry.path), revisions=dict(known), **told)


def load(asset_path: str | Path, part: Split) -> Any:
    """One split as a datasets.Dataset, memory-mapped; None where nothing is held out."""
    import datasets

    folder = Path(asset_path) / part
    return datasets.load_from_disk(str(folder)) if folder.is_dir() else None


def _is_away(config: RunConfig) -> bool:
    return any(source_of(rows) in ("hub", "remote") for rows in (*train_sets(config.data), *held_out_sets(config.data)))


def _build(config: RunConfig, made_from: dict[str, Any], tokenizer_folder: str, known: Commits, folder: Path) -> None:
    counts: dict[str, Any] = {"from": made_from, "revisions": dict(known)}
    need = sequences_needed(config)
    tokenizer = load_tokenizer(tokenizer_folder, config.model)
    sets = (*train_sets(config.data), *held_out_sets(config.data))
    highest = highest_token(tokenizer) if any(rows.format == "tokens" for rows in sets) else None
    if need is None or config.data.source == "python_docs":
        train_rows, eval_rows = _rows(config, known, highest)
        log.info("tokenising %d training rows and %d held-out rows", len(train_rows), len(eval_rows))
        train = collect(train_rows, tokenizer, config, "train", counts)
    else:
        eval_rows = []
        train = collect(stream(config, known, eval_rows, highest), tokenizer, config, "train", counts, need)
        log.info("tokenised %d training rows, as many as the run takes", len(train))
    held = collect(eval_rows, tokenizer, config, "eval", counts)
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


def _rows(config: RunConfig, known: Commits, highest: int | None) -> tuple[list[Row], list[Row]]:
    if config.data.source != "python_docs":
        return whole(config, known, highest)
    train, held = python_docs()
    if config.method.objective == "pretrain":
        return _as_text(train), _as_text(held)
    if config.data.learn == "all":
        return [_learnt_whole(row) for row in train], [_learnt_whole(row) for row in held]
    return train, held


def _learnt_whole(row: Row) -> Row:
    return replace(row, learn=(True,) * len(row.messages))


def _as_text(rows: Iterable[Row]) -> list[Row]:
    return [Row(text=row.messages[-1]["content"]) for row in rows]


def _write(folder: Path, samples: Sequence[Sample], packs: Sequence[Sequence[int]], packed: bool) -> None:
    """One split as an Arrow file. The bytes depend on the contents alone."""
    import datasets
    import pyarrow as pa

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
