"""What a worker does next, where another one does the same at that very moment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import Trial

from conf.folder import read_lines
from sweeps.folder import SweepFolder
from sweeps.owner import this_worker
from sweeps.proposal import Proposer
from sweeps.search import enter, read_search
from sweeps.study import Study
from tests.sweeps.searches import RATES, Home


class Overtaken(Study):
    """A study in which another worker is always a little faster."""

    def begin(self, owner: Mapping[str, Any], fixed: Mapping[str, Any] | None = None) -> Trial:
        """The other one's job stands before ours."""
        rival = super().begin(dict(owner) | {"worker": 99}, fixed)
        rival.suggest_float("method.learning_rate", 1e-4, 1e-1, log=True)
        return super().begin(owner, fixed)


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepFolder:
    """A search of two trials that has one."""
    home = Home(tmp_path)
    found = home.search("near", "sweep=random", RATES, "sweep.trials=1")
    record = found.sweep()
    found.write_sweep(record | {"settings": record["settings"] | {"trials": 2}})
    monkeypatch.setenv("SLURMWRIGHT_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return found


def proposer(sweep: SweepFolder, study: Study) -> Proposer:
    enter(sweep.sweep())
    return Proposer(sweep, read_search(sweep.sweep()), study, this_worker(sweep))


def test_the_last_trial_is_begun_by_one_worker(sweep: SweepFolder) -> None:
    assert proposer(sweep, Overtaken(sweep)).next() is None
    voids = [job.void for job in Study(sweep).jobs()]
    assert voids == [None, None, "another worker began the last trial"]
    assert len(read_lines(sweep.trials_file)) == 1


def test_a_job_that_is_begun_is_found_again(sweep: SweepFolder) -> None:
    mine = proposer(sweep, Study(sweep))
    job = mine.next()
    assert job is not None and job.run_id is not None and job.running
    again = mine.next()
    assert again is not None and again.number == job.number
