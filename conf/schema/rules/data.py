"""Rules of rows: where they lie, which are held out, and how many are read."""

import os
import re
from collections.abc import Iterator

from conf.schema.addresses import is_remote, refusal
from conf.schema.data import RowsConfig
from conf.schema.rows import RowsMissing, row_files, source_of
from conf.schema.rules.reading import is_set, spelled, value_at
from conf.schema.rules.registry import Finding, rule
from conf.schema.rules.rows import sets_of
from conf.schema.run import RunConfig

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
"""`owner/name`, or the name of one of the hub's oldest datasets."""


@rule(
    "data-path",
    reads=("data.source", "data.path", "data.files", "data.split", "data.eval_path", "data.sets", "data.eval_sets"),
    reason="rows must be there to be read",
    fix="give a file, a folder or a pattern that this machine has, or a hub id with data=hub",
    fails="the run's preparation stops, since the rows cannot be read",
)
def data_path(config: RunConfig) -> Iterator[Finding]:
    data = config.data
    if data.source in ("python_docs", "sets"):
        if data.path is not None:
            yield "data.path", f"data.path={data.path} has no effect with this data: add data=file"
    elif data.path is None:
        what = "FILE (.jsonl, .json, .parquet, .arrow, .csv, .txt), a folder or a pattern with *"
        yield "data.path", f"data=file needs the rows: add data.path={what}" if data.source == "file" else (
            "data=hub needs a dataset: add data.path=OWNER/NAME"
        )  # fmt: skip
    elif data.source == "hub":
        yield from _dataset("data.path", "data.path", data.path)
    else:
        yield from _files("data.path", data, data.path)
    if data.eval_path is not None and data.source != "python_docs":
        yield from _files("data.eval_path", RowsConfig(), data.eval_path)
    for where, rows in sets_of(config):
        if where != "data":
            yield from _set(where, rows)


def _set(where: str, rows: RowsConfig) -> Iterator[Finding]:
    field, named = where.partition(":")[0], f"{where}, path"
    if rows.path is None:
        yield field, f"{where} has no path: add `path: FILE`, or `source: hub, path: OWNER/NAME`"
    elif source_of(rows) == "hub":
        yield from _dataset(field, named, rows.path)
    else:
        for _, message in _files(field, rows, rows.path):
            yield field, f"{where}: {message}"


def _dataset(field: str, named: str, value: str) -> Iterator[Finding]:
    if not _HUB_ID.fullmatch(value) and not os.path.isdir(os.path.expanduser(value)):
        yield field, f"{named}={value} is no hub id: write OWNER/NAME, or use data=file for files of this machine"


def _files(field: str, rows: RowsConfig, path: str) -> Iterator[Finding]:
    if is_remote(path):
        reason = refusal(path)
        if reason is not None:
            yield field, f"{path}: {reason}"
        return
    try:
        row_files(os.path.expanduser(path), rows.files, rows.split)
    except (RowsMissing, OSError, ValueError) as error:
        yield field, str(error)


@rule(
    "data-sets",
    reads=("data.source", "data.sets"),
    reason="several sets are read with data.source=sets, and with that alone",
    fix="use data.source=sets with data.sets, or neither",
    fails="the run's preparation has no rows, or reads others than those that were listed",
)
def data_sets(config: RunConfig) -> Iterator[Finding]:
    data = config.data
    if data.source == "sets" and not data.sets:
        yield "data.sets", "data.source=sets needs sets of rows: add data.sets=[{path: a.jsonl}, {path: b.jsonl}]"
    elif data.source != "sets" and data.sets:
        yield "data.sets", f"data.sets has no effect with data.source={data.source}: add data.source=sets"


@rule(
    "held-out-choice",
    reads=("data.eval_path", "data.eval_sets", "data.eval_rows", "data.eval_fraction", "data.source"),
    reason="held-out rows are named, or split off by a number, or by a share",
    fix="give one of the four",
    fails="but one of them is read: the run is evaluated on other rows than the config says",
)
def held_out_choice(config: RunConfig) -> Iterator[Finding]:
    given = [
        path
        for path in ("data.eval_path", "data.eval_sets", "data.eval_rows", "data.eval_fraction")
        if is_set(config, path)
    ]
    if config.data.eval_fraction == 0 and len(given) > 1 and "data.eval_fraction" in given:
        given.remove("data.eval_fraction")
    if given and config.data.source == "python_docs":
        yield (
            given[0],
            f"{given[0]} has no effect with data=python_docs, which has held-out rows of its own: leave it out",
        )
    elif len(given) > 1:
        yield given[0], f"{' and '.join(given)} exclude each other: give one of them"


@rule(
    "shard-number",
    reads=("data.shards", "data.shard"),
    reason="parts are counted from 0",
    fix="use a data.shard below data.shards",
    fails="datasets raises ValueError: index should be in [0, num_shards-1]",
)
def shard_number(config: RunConfig) -> Iterator[Finding]:
    shards, shard = config.data.shards, config.data.shard
    if shards is None and shard:
        yield "data.shard", f"data.shard={shard} needs data.shards, the number of parts"
    elif shards is not None and shard >= shards:
        yield (
            "data.shard",
            f"data.shard={shard} of data.shards={shards} parts, counted from 0: use {shards - 1} or less",
        )


_HUB = ("data.subset", "data.revision")


@rule(
    "hub-unused",
    reads=("data.source", *_HUB),
    reason="subset and revision are a hub dataset's",
    fix="leave them out, or use data=hub",
    warning=True,
)
def hub_unused(config: RunConfig) -> Iterator[Finding]:
    for path in _HUB:
        if config.data.source != "hub" and is_set(config, path):
            yield path, f"{spelled(path, value_at(config, path))} has no effect without data=hub: leave it out"


@rule(
    "streaming-steps",
    reads=("data.streaming", "method.max_steps"),
    reason="the end of a stream is not known beforehand",
    fix="add method.max_steps",
    fails="without it the run's length and its learning rates cannot be computed: Trainer raises ValueError, max_steps "
    "has to be specified",
)
def streaming_steps(config: RunConfig) -> Iterator[Finding]:
    if config.data.streaming and config.method.max_steps is None:
        yield (
            "method.max_steps",
            "data.streaming=true reads as many rows as the steps need, so these must be known: add "
            "method.max_steps=1000, or data.streaming=false",
        )


@rule(
    "streaming-docs",
    reads=("data.streaming", "data.source"),
    reason="the docstrings of the standard library are few",
    fix="leave data.streaming out with data=python_docs",
    warning=True,
)
def streaming_docs(config: RunConfig) -> Iterator[Finding]:
    if config.data.streaming and config.data.source == "python_docs":
        yield "data.streaming", "data.streaming=true has no effect with data=python_docs: leave it out"


@rule(
    "packing-order",
    reads=("data.packing", "data.order"),
    reason="packs are all about as long",
    fix="leave data.order=length out with packing",
    warning=True,
)
def packing_order(config: RunConfig) -> Iterator[Finding]:
    if config.data.packing and config.data.order == "length":
        yield (
            "data.order",
            "data.order=length has little to sort, since packs are all about as long: use data.order=random",
        )


@rule(
    "data-offline",
    reads=("offline", "data.source", "data.sets", "data.eval_sets", "data.path"),
    reason="an offline run cannot fetch a dataset",
    fix="stage the dataset into the store, have it in the hub's cache, or use data=file",
    warning=True,
)
def data_offline(config: RunConfig) -> Iterator[Finding]:
    if not config.offline:
        return
    named = [config.data.path] if config.data.source == "hub" and config.data.path else []
    named += [rows.path for rows in (*config.data.sets, *config.data.eval_sets) if rows.source == "hub" and rows.path]
    for name in named:
        if not os.path.isdir(os.path.expanduser(name)):
            yield (
                "data.source",
                f"offline=true, so the dataset {name} must lie in the store or in the hub's cache already: stage it "
                "where the hub is reached (`python -m launcher stage ...`), or use data=file",
            )
