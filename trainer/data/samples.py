"""Samples of rows: those with something to learn, counted, and no more of them than are needed."""

import logging
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from conf.schema.run import RunConfig
from trainer.data.labels import BATCH, Sample, label_rows
from trainer.data.rows import Row

log = logging.getLogger(__name__)
Split = Literal["train", "eval"]


def collect(
    rows: Iterable[Row],
    tokenizer: Any,
    config: RunConfig,
    part: Split,
    counts: dict[str, Any],
    need: int | None = None,
) -> list[Sample]:
    """Samples that have something to learn; counts all of them, and those dropped or cut.

    With `need`, no more rows are taken than fill so many sequences."""
    limit = config.data.max_length
    kept: list[Sample] = []
    tally = {"cut": 0, "too_long": 0, "dropped": 0}
    at_once = BATCH if need is None else min(BATCH, need)
    for sample in _enough(label_rows(rows, tokenizer, limit, config.data.overlong, at_once), config, need):
        if sample.trained:
            kept.append(sample)
            tally["cut"] += sample.cut
        else:
            tally["too_long" if sample.cut and not len(sample.ids) else "dropped"] += 1
    if any(tally.values()):
        log.warning(
            "%s rows: %d cut at data.max_length=%d, %d left out because they are longer, %d dropped because nothing to "
            "learn was left of them",
            part, tally["cut"], limit, tally["too_long"], tally["dropped"],
        )  # fmt: skip
    prefix = "" if part == "train" else "eval_"
    counts[f"{part}_rows"] = len(kept)
    counts[f"{prefix}tokens"] = sum(len(sample.ids) for sample in kept)
    counts[f"{prefix}trained_tokens"] = sum(sample.trained for sample in kept)
    counts[f"{prefix}cut_rows"] = tally["cut"]
    counts[f"{prefix}too_long_rows"], counts[f"{prefix}dropped_rows"] = tally["too_long"], tally["dropped"]
    return kept


def _enough(samples: Iterator[Sample], config: RunConfig, need: int | None) -> Iterator[Sample]:
    """The samples, up to the one that makes `need` sequences: as many samples as that, or packed as many tokens as
    these hold, which cannot be put into fewer."""
    enough = None if need is None else need * (config.data.max_length if config.data.packing else 1)
    have = 0
    for sample in samples:
        yield sample
        if sample.trained:
            have += len(sample.ids) if config.data.packing else 1
        if enough is not None and have >= enough:
            return
