"""The trials of a sweep as files for other programs: CSV, JSON and Parquet, one row a trial."""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

from conf.folder import write_json, write_whole
from sweeps import words
from sweeps.status import record
from sweeps.table import Table


def rows(table: Table) -> list[dict[str, Any]]:
    """One flat row a trial, in order of their numbers; what is varied stands under its own name, behind `param.`.

    Every row has the same keys. `rank` is the configuration's."""
    ranks = {each.group: each.rank for each in table.configurations}
    found = []
    for trial in table.trials:
        row: dict[str, Any] = {
            "trial": trial.number,
            "run_id": trial.run_id,
            "configuration": trial.group,
            "rank": ranks[trial.group],
            "state": trial.state,
            "cause": trial.cause,
            "message": trial.message,
            "step": trial.step,
            "steps": trial.steps,
            "gpu_hours": trial.gpu_hours,
            "attempts": trial.attempts,
        }
        row |= {name: trial.metrics.get(name) for name in table.trials[0].metrics}
        found.append(row | {f"param.{name}": trial.values.get(name) for name in table.parameters})
    return found


def write(table: Table, folder: Path) -> None:
    """Write trials.csv, trials.json and trials.parquet, each whole."""
    found = rows(table)
    write_whole(folder / "trials.csv", _csv(found))
    write_json(folder / "trials.json", record(table))
    _write_parquet(found, folder / "trials.parquet")


def _csv(found: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if found:
        writer.writerow(found[0])
        writer.writerows([["" if each is None else _plain(each) for each in row.values()] for row in found])
    return text.getvalue()


def _plain(given: Any) -> Any:
    return json.dumps(given) if isinstance(given, list | dict) else given


def _write_parquet(found: list[dict[str, Any]], path: Path) -> None:
    """A column has one type: where a sweep varies a field over several, its values are written as they are typed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {name: _column([row[name] for row in found]) for name in (found[0] if found else ())}
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        pq.write_table(pa.table(columns), beside)
        beside.chmod(0o600)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _column(values: list[Any]) -> list[Any]:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or (len(kinds) == 1 and kinds <= {bool, str}):
        return [float(value) if float in kinds and value is not None else value for value in values]
    return [None if value is None else words.value(value) for value in values]
