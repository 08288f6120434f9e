"""The rows of a run: every set that it names, read in order, cut and split as it says."""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path

from conf.schema.data import RowsConfig
from conf.schema.rows import RowsMissing, held_out_sets, row_files, source_of, train_sets
from conf.schema.run import RunConfig
from trainer.data.files import Value, values
from trainer.data.formats import Reader
from trainer.data.hub_rows import commit_of, hub_values
from trainer.data.rows import MOST_PROBLEMS, BadRow, Row, RowProblems, falls_to, split
from trainer.errors import PreparationError
from trainer.sources.errors import SourceUnavailable
from trainer.sources.remote import bring
from trainer.store import Entry, Store

Commits = Mapping[str, str]
"""Datasets of the hub, as `owner/name@revision`, with the commit that they are read at; and addresses of files, with
the digest of what was brought from there into the store."""
_SPLIT = re.compile(r"(?P<name>[\w.-]+)(\[(?P<first>\d+%?)?:(?P<last>\d+%?)?\])?")


class RowsAway(PreparationError):
    """Rows behind an address that cannot be had."""

    exit_code = 5


class RowsUnreadable(PreparationError):
    """Files of rows that are not there, or a part of them that cannot be meant."""


def commits(config: RunConfig, store: Store | None = None) -> dict[str, str]:
    """The commits of all hub datasets of a run, as far as the hub tells them, and the digests of files behind
    addresses, which are brought into the store. Offline there are none."""
    found = {}
    for rows in (*train_sets(config.data), *held_out_sets(config.data)):
        if source_of(rows) == "hub" and _address(rows) not in found:
            commit = commit_of(rows, config.offline)
            if commit is not None:
                found[_address(rows)] = commit
        elif source_of(rows) == "remote" and not config.offline:
            found[str(rows.path)] = _brought(rows, config, store).digest
    return found


def _brought(rows: RowsConfig, config: RunConfig, store: Store | None = None) -> Entry:
    """The files behind an address, in the store. Raises RowsAway."""
    store = store or Store(str(config.store.root))
    try:
        return bring("rows", str(rows.path), store, config.offline, lambda names: _of_rows(names, rows))
    except SourceUnavailable as error:
        raise RowsAway(f"the rows cannot be had: {error.reason}") from error


def _of_rows(names: Sequence[str], rows: RowsConfig) -> list[str]:
    return [name for name in names if not rows.files or any(fnmatch(name, mark) for mark in rows.files)]


def whole(config: RunConfig, known: Commits, highest: int | None = None) -> tuple[list[Row], list[Row]]:
    """All training rows and all held-out rows. Raises PreparationError.

    `highest` is the tokenizer's highest number, which rows of tokens are held to; None: they are not."""
    data = config.data
    train = [row for rows in train_sets(data) for row in read_set(rows, config, known, highest)]
    if data.deduplicate:
        train = _distinct(train)
    held_sets = held_out_sets(data)
    if not held_sets:
        return split(train, data.eval_fraction, config.seed, data.eval_rows)
    held = [row for rows in held_sets for row in read_set(rows, config, known, highest)]
    if data.deduplicate:
        held = _distinct([*train, *held])[len(train) :]
    return train, held


def stream(config: RunConfig, known: Commits, held: list[Row], highest: int | None = None) -> Iterator[Row]:
    """Training rows as they come; those that are held out on the way are put into `held`, where no set is named.

    data.eval_rows rows from the front are held out, or each row with the probability data.eval_fraction, by its
    contents. `highest` is that of `whole`. Raises PreparationError."""
    data = config.data
    held_sets = held_out_sets(data)
    held += [row for rows in held_sets for row in read_set(rows, config, known, highest)]
    seen: set[str] = set()
    for rows in train_sets(data):
        for row in _rows(rows, config, known, highest, streaming=True):
            if data.deduplicate:
                if row.digest in seen:
                    continue
                seen.add(row.digest)
            if not held_sets and _is_held(row, config, len(held)):
                held.append(row)
            else:
                yield row


def read_set(rows: RowsConfig, config: RunConfig, known: Commits, highest: int | None = None) -> list[Row]:
    """All rows of one set, its parts chosen; `highest` is that of `whole`. Raises RowProblems, which names file, place,
    key and what is allowed."""
    found = list(_rows(rows, config, known, highest, streaming=False))
    if not found:
        reader = _reader(rows, config)
        raise RowProblems([f"{rows.path} has no rows: give one JSON object a line, such as {reader.example()}"])
    return found


def _rows(rows: RowsConfig, config: RunConfig, known: Commits, highest: int | None, streaming: bool) -> Iterator[Row]:
    reader = _reader(rows, config, highest)
    problems: list[str] = []
    if source_of(rows) == "remote":
        rows = _local(rows, config, known)
    for where, value in _chosen(rows, _values(rows, known, streaming), streaming):
        try:
            if isinstance(value, BadRow):
                raise value
            row = reader.row(value)
        except BadRow as bad:
            problems.append(f"{where}: {bad}")
            if len(problems) >= MOST_PROBLEMS:
                break
            continue
        if not problems:
            yield row
    if problems:
        raise RowProblems(problems)


def _local(rows: RowsConfig, config: RunConfig, known: Commits) -> RowsConfig:
    """A set behind an address as one of files in the store, as they were when the run began. Raises RowsAway."""
    digest = known.get(str(rows.path)) or _brought(rows, config).digest
    folder = Store(str(config.store.root)).root / "rows" / digest
    if not folder.is_dir() and _brought(rows, config).digest != digest:
        raise RowsAway(f"{rows.path} has changed since this run began, and what it was is gone from the store")
    names = sorted(path for path in folder.rglob("*") if path.is_file())
    return rows.model_copy(update={"path": str(names[0] if len(names) == 1 else folder), "files": []})


def _reader(rows: RowsConfig, config: RunConfig, highest: int | None = None) -> Reader:
    return Reader(rows, config.method.objective, config.data.learn == "all", highest)


def _values(rows: RowsConfig, known: Commits, streaming: bool) -> Iterator[Value]:
    """Each value of a set with file and place."""
    if source_of(rows) == "hub":
        assert rows.path is not None, "a rule has refused a hub dataset without its id"
        for where, value in hub_values(rows, known.get(_address(rows)), streaming):
            yield f"{rows.path}{where}", value
        return
    assert rows.path is not None, "a rule has refused a set of files without its path"
    try:
        for name in row_files(rows.path, rows.files, rows.split):
            for where, value in values(Path(name), rows.field_text):
                yield f"{name}{where}", value
    except RowsMissing as error:
        raise RowsUnreadable(str(error)) from error
    except OSError as error:
        raise RowsUnreadable(f"the rows cannot be read: {error.filename}: {error.strerror}") from error


def _chosen(rows: RowsConfig, found: Iterator[Value], streaming: bool) -> Iterator[Value]:
    """The part of a set that its slice, shards, skip and limit leave."""
    if source_of(rows) == "file" and "[" in rows.split:
        found = _sliced(rows, found)
    if rows.shards is not None:
        if rows.shard >= rows.shards:
            raise RowsUnreadable(
                f"data.shard={rows.shard} is none of data.shards={rows.shards}: they are 0 to {rows.shards - 1}"
            )
        if streaming:
            found = islice(found, rows.shard, None, rows.shards)
        else:
            every = list(found)
            random.Random(0).shuffle(every)
            first, last = (len(every) * part // rows.shards for part in (rows.shard, rows.shard + 1))
            found = iter(every[first:last])
    return islice(found, rows.skip, None if rows.limit is None else rows.skip + rows.limit)


def _sliced(rows: RowsConfig, found: Iterator[Value]) -> Iterator[Value]:
    match = _SPLIT.fullmatch(rows.split)
    if match is None:
        raise RowsUnreadable(f"data.split={rows.split} is no slice of files: write it as train[:10%] or train[100:200]")
    bounds = [match["first"], match["last"]]
    if any(bound is not None and bound.endswith("%") for bound in bounds):
        every = list(found)
        found = iter(every)
        bounds = [_share(bound, len(every)) for bound in bounds]
    first, last = (None if bound is None else int(bound) for bound in bounds)
    return islice(found, first or 0, last)


def _share(bound: str | None, rows: int) -> str | None:
    return str(round(rows * int(bound[:-1]) / 100)) if bound is not None and bound.endswith("%") else bound


def _distinct(rows: list[Row]) -> list[Row]:
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(row.digest, row)
    return list(first.values())


def _is_held(row: Row, config: RunConfig, so_far: int) -> bool:
    if config.data.eval_rows is not None:
        return so_far < config.data.eval_rows
    return config.data.eval_fraction > 0 and falls_to(row, config.data.eval_fraction, config.seed)


def _address(rows: RowsConfig) -> str:
    return f"{rows.path}@{rows.revision or 'main'}"
