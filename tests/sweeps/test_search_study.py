"""The study on disk: a kill at any write, two workers at once, one word a job."""

import json
from pathlib import Path
from typing import Any

import pytest

from conf.folder import write_json
from sweeps.folder import SweepFolder
from sweeps.space import Axis
from sweeps.study import Job, Study, create, draw

RANK = Axis("adapter.r", ("2", "4"))
ME, OTHER = {"worker": 1}, {"worker": 2}


@pytest.fixture
def sweep(tmp_path: Path) -> SweepFolder:
    folder = SweepFolder(tmp_path / "mine")
    folder.path.mkdir()
    write_json(folder.sweep_file, {"kind": "search", "metric": "eval_loss"})
    create(folder)
    return folder


def begin(study: Study, owner: dict[str, Any] = ME) -> Job:
    trial = study.begin(owner)
    draw(trial, RANK)
    study.mark(study.job(trial.number), run_id=f"run-{trial.number}")
    return study.job(trial.number)


def test_the_journal_survives_a_kill_at_any_write(sweep: SweepFolder) -> None:
    study = Study(sweep)
    first = begin(study)
    study.complete(first, [1.5])
    written = sweep.study.read_bytes()
    whole = written[: written.rindex(b"\n", 0, -1) + 1]
    last = written[len(whole) :]
    for kept in range(len(last)):
        sweep.study.write_bytes(whole + last[:kept])
        again = Study(sweep)
        assert again.job(0).running, "what was half told was not told"
        number = begin(again).number
        assert again.complete(again.job(0), [2.5])
        assert [job.number for job in Study(sweep).jobs()] == [0, number]
        assert Study(sweep).job(0).value == 2.5
        for line in sweep.study.read_text().splitlines():
            json.loads(line)


def test_a_journal_is_made_once(sweep: SweepFolder) -> None:
    begin(Study(sweep))
    create(sweep)
    assert len(Study(sweep).jobs()) == 1
    assert [path.name for path in sweep.path.glob(".*")] == []


def test_a_job_is_told_once(sweep: SweepFolder) -> None:
    mine, theirs = Study(sweep), Study(sweep)
    job = begin(mine)
    assert theirs.fail(theirs.job(0), "lost")
    assert not mine.complete(job, [1.0])
    assert Study(sweep).job(0).failed and Study(sweep).job(0).cause == "lost"
    assert mine.job(0).owner == ME


def test_of_two_that_go_on_with_a_trial_the_first_counts(sweep: SweepFolder) -> None:
    mine, theirs = Study(sweep), Study(sweep)
    job = begin(mine)
    mine.pause(job, 3, 1.0)
    won, lost = mine.go_on(mine.job(0), 1, ME), theirs.go_on(theirs.job(0), 1, OTHER)
    assert won is not None and lost is None
    assert (won.trial, won.rung, won.run_id, won.values, won.owner) == (0, 1, "run-0", job.values, ME)
    after = theirs.go_on(won, 1, OTHER, won.number)
    assert after is not None and after.after == won.number
    assert mine.go_on(won, 1, ME, won.number) is None
    assert [job.void for job in mine.jobs()] == [
        None,
        None,
        "another worker was faster",
        None,
        "another worker was faster",
    ]
