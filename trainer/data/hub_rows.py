"""Rows of the hub's datasets, through the library datasets; or from what its cache holds."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from conf.schema.data import RowsConfig
from trainer.data.files import Value, without_nulls
from trainer.errors import PreparationError
from trainer.sources.errors import SourceUnavailable
from trainer.sources.hub import PROBE_SECONDS, ask, client, token

log = logging.getLogger(__name__)


class DatasetUnavailable(PreparationError):
    """A dataset of the hub that can be had neither from there nor from the cache. `dataset` is its id."""

    exit_code = 5

    def __init__(self, dataset: str, reason: str) -> None:
        self.dataset = dataset
        self.reason = reason
        super().__init__(f"dataset {dataset} cannot be had: {reason}")


def commit_of(rows: RowsConfig, offline: bool) -> str | None:
    """The commit that a dataset's revision means now; None where the hub is not asked, or does not answer."""
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")  # the xet client is native code with retries of its own
    from huggingface_hub.constants import HF_HUB_OFFLINE

    if offline or HF_HUB_OFFLINE:
        return None

    def question() -> Any:
        return client().dataset_info(str(rows.path), revision=rows.revision, timeout=PROBE_SECONDS)

    try:
        return str(ask(question, f"dataset {rows.path}", rows.revision).sha)
    except SourceUnavailable as error:
        log.info("dataset %s: %s", rows.path, error.reason)
        return None


def hub_values(rows: RowsConfig, commit: str | None, streaming: bool) -> Iterator[Value]:
    """The dataset's rows, each with its place, at a commit of `commit_of`; None takes what the cache holds.

    Raises DatasetUnavailable."""
    with _network(commit is not None):
        dataset = _load(rows, commit, streaming)
        for number, value in enumerate(dataset, start=1):
            yield f" row {number}", without_nulls(value)


def _load(rows: RowsConfig, commit: str | None, streaming: bool) -> Any:
    import datasets

    dataset = str(rows.path)
    if streaming and commit is None:
        raise DatasetUnavailable(dataset, "data.streaming reads from the hub as it trains, which was not reached")
    datasets.disable_progress_bars()
    try:
        return datasets.load_dataset(
            dataset,
            name=rows.subset,
            split=rows.split,
            revision=commit or rows.revision,
            data_files=rows.files or None,
            streaming=streaming,
            token=token() or None,
        )
    except Exception as error:  # the library's own, pyarrow's, the network's: all mean that there are no rows
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        if commit is not None:
            raise DatasetUnavailable(dataset, first) from error
        why = "the hub was not asked or did not answer, and the cache of the library datasets does not hold it"
        raise DatasetUnavailable(
            dataset, f"{why} ({first}): prepare it once where the hub is reached, or give files with data=file"
        ) from error


@contextmanager
def _network(allowed: bool) -> Iterator[None]:
    """Keep the library from asking the hub, for minutes on end, where that is not allowed or has not answered."""
    import datasets

    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or not allowed
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before
