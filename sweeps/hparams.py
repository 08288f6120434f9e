"""The trials of a sweep for TensorBoard's HParams plugin: `tensorboard --logdir SWEEP/report/tensorboard`."""

import os
import secrets
import shutil
import time
from pathlib import Path
from typing import Any

from sweeps import words
from sweeps.table import Table
from sweeps.trials import WAITING, Trial


def write(table: Table, folder: Path) -> None:
    """Write one event file that says what is varied and measured, and one a trial with its values and numbers.

    The folder is written beside its place and takes it whole; TensorBoard reads the new one at its next reload."""
    fresh = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    try:
        fresh.mkdir()
        _write_experiment(table, fresh)
        for trial in table.trials:
            if trial.state != WAITING:
                _write_session(table, trial, fresh / trial.run_id)
        if folder.exists():
            os.rename(folder, fresh / ".old")
            (fresh / ".old").rename(fresh.with_name(fresh.name + ".old"))
        os.rename(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(fresh.with_name(fresh.name + ".old"), ignore_errors=True)


def _write_experiment(table: Table, folder: Path) -> None:
    from tensorboard.plugins.hparams import summary_v2

    names = table.trials[0].metrics if table.trials else {}
    varied = []
    for name in table.parameters:
        values = [_value(trial.values[name]) for trial in table.trials if name in trial.values]
        if len({type(value) for value in values}) > 1:
            values = [str(value) for value in values]
        varied.append(summary_v2.HParam(name, summary_v2.Discrete(sorted(set(values)))))
    metrics = [summary_v2.Metric(name) for name in names]
    _write(folder, [summary_v2.hparams_config_pb(hparams=varied, metrics=metrics)], 0, {})


def _write_session(table: Table, trial: Trial, folder: Path) -> None:
    from tensorboard.plugins.hparams import summary_v2

    kinds = {
        name: {type(_value(each.values[name])) for each in table.trials if name in each.values}
        for name in table.parameters
    }
    values = {
        name: _value(value) if len(kinds[name]) == 1 else str(_value(value)) for name, value in trial.values.items()
    }
    begin = summary_v2.hparams_pb(values, trial_id=trial.run_id)
    measured = {name: value for name, value in trial.metrics.items() if value is not None}
    _write(folder, [begin, _end(trial)], trial.step, measured)


def _end(trial: Trial) -> Any:
    from tensorboard.compat.proto import summary_pb2
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    known = {"completed": api_pb2.STATUS_SUCCESS, "pruned": api_pb2.STATUS_SUCCESS, "running": api_pb2.STATUS_RUNNING}
    status = known.get(trial.state, api_pb2.STATUS_FAILURE if trial.state in ("failed", "lost") else 0)
    told = plugin_data_pb2.HParamsPluginData(
        session_end_info=plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
    )
    summary = summary_pb2.Summary()
    summary.value.add(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(told),
        tensor=metadata.NULL_TENSOR,
    )
    return summary


def _write(folder: Path, summaries: list[Any], step: int, scalars: dict[str, float]) -> None:
    from tensorboard.compat.proto import event_pb2, summary_pb2
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))
    try:
        if scalars:
            pairs = scalars.items()
            curves = summary_pb2.Summary(
                value=[summary_pb2.Summary.Value(tag=name, simple_value=value) for name, value in pairs]
            )
            writer.add_event(event_pb2.Event(wall_time=time.time(), step=step, summary=curves))
        for summary in summaries:
            writer.add_event(event_pb2.Event(wall_time=time.time(), summary=summary))
    finally:
        writer.close()


def _value(given: Any) -> bool | float | str:
    """A value as the plugin knows it: a number, a truth value or text."""
    if isinstance(given, bool):
        return given
    return float(given) if isinstance(given, int | float) else words.value(given)
