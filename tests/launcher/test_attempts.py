"""What `status RUN` tells of a run's attempts."""

import json
from pathlib import Path
from typing import get_args

import pytest

from conf.folder import Cause, RunFolder, append_line, read_json, write_json
from launcher.attempts import WORDS
from launcher.cli import main
from tests.launcher.fakes import FakeSlurm
from tests.launcher.folders import ended, run, started, submitted

Capture = pytest.CaptureFixture[str]


def made(folder: RunFolder, first: int, last: int, t: str) -> None:
    for step in range(first, last + 1):
        append_line(folder.metrics_file, {"step": step, "loss": 1.0, "tokens": 1, "seconds": 1.0, "t": t})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run that lost n2 in its first attempt, went on without it, and has been preempted since."""
    monkeypatch.chdir(tmp_path)
    FakeSlurm(tmp_path / "bin").install(monkeypatch)
    folder = submitted(run(tmp_path / "runs"))
    times = ["2026-01-01T00:00:00.000+00:00", "2026-01-01T01:00:00.000+00:00"]
    ended(started(folder, 1), 1, "node_failure", "no word from n2: it is gone\nmore")
    ended(started(folder, 2, nodes=("n1", "n3")), 2, "preempted", "SIGTERM from outside")
    ended(started(folder, 3), 3, "out_of_memory", "too little")
    lines = [json.loads(line) for line in folder.events_file.read_text().splitlines()]
    folder.events_file.unlink()
    for line in lines:
        number = line["attempt"]
        append_line(folder.events_file, line | {"t": times[number - 1] if number < 3 else "2026-01-01T02"})
    folder.append_event("node_lost", 1, node="n2")
    folder.append_event("node_excluded", 1, node="n2")
    folder.append_event("resumed", 2, 10)
    record = folder.attempt_folder(1) / "attempt.json"
    write_json(record, read_json(record) | {"culprit": "n2", "job_id": "1001"})
    made(folder, 1, 12, "2026-01-01T00:30:00.000+00:00")
    made(folder, 11, 30, "2026-01-01T01:30:00.000+00:00")
    return folder


def test_each_attempt_has_its_steps_and_its_end(folder: RunFolder, capsys: Capture) -> None:
    assert main(["status", folder.id]) == 0
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    rows = {cells[0]: [cell.strip() for cell in cells if cell.strip()] for cells in lines}
    assert rows["1"][1:4] == ["1001", "n1,n2", "1 to 12"]
    assert rows["1"][-1] == "a node was lost: no word from n2: it is gone"
    assert rows["2"][1:3] == ["n1,n3", "11 to 30"] and rows["2"][-1] == "preempted: SIGTERM from outside"
    assert rows["3"][2] == "none" and rows["3"][-1] == "out of memory: too little"
    assert ["nodes lost: n2"] in lines and ["nodes left out since: n2"] in lines


def test_programs_are_told_the_same(folder: RunFolder, capsys: Capture) -> None:
    assert main(["status", folder.id, "--json"]) == 0
    [told] = json.loads(capsys.readouterr().out)["runs"]
    assert [(row["attempt"], row["from_step"], row["to_step"]) for row in told["history"]] == [
        (1, 1, 12), (2, 11, 30), (3, None, None),
    ]  # fmt: skip
    assert [row["cause"] for row in told["history"]] == ["node_failure", "preempted", "out_of_memory"]
    assert (told["lost_nodes"], told["excluded_nodes"]) == ({"n2": 1}, ["n2"])
    assert told["attempts"] == 3


def test_a_table_of_all_runs_stays_short(folder: RunFolder, capsys: Capture) -> None:
    assert main(["status"]) == 0
    assert "how it ended" not in capsys.readouterr().out
    assert main(["status", "--json"]) == 0
    assert "history" not in json.loads(capsys.readouterr().out)["runs"][0]


def test_every_cause_has_its_words() -> None:
    assert WORDS.keys() == set(get_args(Cause))
