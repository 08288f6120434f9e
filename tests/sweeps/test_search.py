"""Searches through the command line: what is tried, told, paused, promoted, taken over, and when they end."""

import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from conf.folder import RunFolder
from sweeps.folder import SweepFolder, run_of
from sweeps.outcome import evaluations
from tests.sweeps.searches import RATES, Home, attempts, jobs, steps

# Nothing is trained, but many processes start: too slow for `make check`.
pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


def folders(sweep: SweepFolder) -> list[RunFolder]:
    return [run_of(sweep, trial) for trial in sweep.trials()]


def test_known_points_come_first_and_every_trial_is_told_once(home: Home) -> None:
    point = "sweep.points=[{adapter.r: 4, method.learning_rate: 0.01}]"
    sweep = home.search("tpe", "sweep=tpe", RATES, "adapter.r=2,4,8", "sweep.trials=5", "sweep.startup=3", point)
    trials, told = sweep.trials(), jobs(sweep)
    assert trials[0]["values"] == {"adapter.r": 4, "method.learning_rate": 0.01}
    assert [trial["number"] for trial in trials] == [job.trial for job in told] == [0, 1, 2, 3, 4]
    assert len({folder.id for folder in folders(sweep)}) == 5
    for job, folder in zip(told, folders(sweep), strict=True):
        assert (job.completed, job.value) == (True, folder.result()["eval_loss"])
        assert folder.config().sweep.search == "grid"
    before = [job.frozen.datetime_complete for job in told]
    home.search("tpe", "sweep=tpe", RATES, "adapter.r=2,4,8", "sweep.trials=5", "sweep.startup=3", point)
    assert [job.frozen.datetime_complete for job in jobs(sweep)] == before


def test_asha_pauses_and_promotes_from_checkpoints(home: Home) -> None:
    words = ["sweep=asha", "sweep.eta=3", "sweep.min_steps=2", RATES, "adapter.r=2,8", "sweep.trials=7"]
    sweep = home.search("asha", *words)
    told = jobs(sweep)
    assert Counter(job.rung for job in told)[0] == 7
    whole = [job for job in told if job.completed]
    assert {job.rung for job in whole} == {2} and 1 <= len(whole) < 7
    for trial, folder in zip(sweep.trials(), folders(sweep), strict=True):
        mine = [job for job in told if job.trial == trial["number"]]
        reached = (2, 6, 18)[max(job.rung for job in mine)]
        # Every step once: nothing is trained again, and nothing behind the rung.
        assert steps(folder) == list(range(1, reached + 1))
        assert [attempt["first"] for attempt in attempts(folder)] == [0, 2, 6][: len(mine)]
        assert folder.config().method.max_steps == 18
        assert folder.result()["status"] == ("completed" if reached == 18 else "pruned")
    best = min((job for job in told if job.rung == 0), key=lambda job: job.value or 0)
    assert best.trial in {job.trial for job in whole}


def test_what_has_no_effect_is_not_drawn(home: Home) -> None:
    words = ["sweep=random", "adapter=lora,full", "adapter.r=2,4", RATES, "sweep.trials=6"]
    sweep = home.search("conditional", *words)
    drawn = [trial["values"] for trial in sweep.trials()]
    assert {values["adapter"] for values in drawn} == {"lora", "full"}
    assert all(("adapter.r" in values) == (values["adapter"] == "lora") for values in drawn)


def test_a_small_space_is_used_up_without_doubles(home: Home) -> None:
    sweep = home.search("small", "sweep=grid_then_tpe", "adapter.r=2,4", "method.learning_rate=1e-3,1e-2")
    assert len(sweep.trials()) == len({folder.id for folder in folders(sweep)}) == 4
    sweep = home.search("excluded", "sweep=random", "adapter.r=2,4,8", "sweep.exclude=[{adapter.r: 4}]")
    assert sorted(trial["values"]["adapter.r"] for trial in sweep.trials()) == [2, 8]


def test_several_objectives(home: Home) -> None:
    goals = "sweep.objectives=[eval_loss,tokens_per_second]"
    sweep = home.search("several", "sweep=tpe", RATES, "sweep.trials=3", goals)
    assert [goal["direction"] for goal in sweep.sweep()["objectives"]] == ["minimize", "maximize"]
    for job, folder in zip(jobs(sweep), folders(sweep), strict=True):
        assert job.frozen.values == [folder.result()["eval_loss"], folder.result()["tokens_per_second"]]


def test_nothing_but_failures_ends_a_search(tmp_path: Path) -> None:
    home = Home(tmp_path, PRETEND_FAIL="1")
    sweep = home.search("failing", "sweep=tpe", RATES, "sweep.trials=20", expect=4)
    assert [job.cause for job in jobs(sweep)] == ["worker_crash: as asked"] * 3


def test_a_budget_of_hours_and_more_trials(home: Home) -> None:
    sweep = home.search("hours", "sweep=random", RATES, "budget.gpu_hours=1e-9")
    assert len(sweep.trials()) == 1
    home.run("sweeps", "extend", str(sweep.path), "budget.gpu_hours=100", "sweep.trials=3")
    assert [job.completed for job in jobs(sweep)] == [True] * 3
    home.run("sweeps", "extend", str(sweep.path), "sweep.trials=2", expect=2)
    done = home.run("sweeps", "extend", str(sweep.path), "adapter.r=4", expect=2)
    assert "adapter.r is fixed once a search has begun" in done.stderr


def test_workers_share_a_search_and_one_is_killed(tmp_path: Path) -> None:
    """Three workers, one of them killed in the middle of a trial: none is lost, none is told twice."""
    home = Home(tmp_path, PRETEND_SLEEP="0.15")
    words = ["sweep=random", RATES, "sweep.trials=1", "evaluation.interval=6", "sweep.parallel=3"]
    sweep = home.search("shared", *words)
    record = sweep.sweep()
    sweep.write_sweep(record | {"settings": record["settings"] | {"trials": 7}})
    workers = [home.worker(sweep) for _ in range(3)]
    try:
        doomed = _busy(sweep, workers[0])
        workers[0].kill()
        assert [worker.wait(200) for worker in workers] == [-signal.SIGKILL, 0, 0]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    ended = [job for job in jobs(sweep) if not job.running]
    taken = [job for job in ended if job.trial == doomed]
    assert len(sweep.trials()) == len(ended) == 7
    assert [job.completed for job in taken] == [True] and taken[0].after is not None
    for folder in folders(sweep):
        assert steps(folder) == list(range(1, 19))


def _busy(sweep: SweepFolder, worker: "subprocess.Popen[bytes]") -> int:
    """The trial that a worker has in hand, once it has made some steps of it."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for job in jobs(sweep) if sweep.study.is_file() else []:
            mine = job.running and job.owner["pid"] == worker.pid and job.run_id is not None
            if mine and len(steps(RunFolder(sweep.root / str(job.run_id)))) > 3:
                return job.trial
        time.sleep(0.05)
    raise AssertionError("the worker has begun nothing")


@pytest.mark.parametrize(
    ("words", "field", "says"),
    [
        (["sweep=tpe"], "sweep", "nothing varies"),
        (["sweep=tpe", "adapter=interval(1,3)"], "adapter", "list its options"),
        (["sweep=tpe", "method.learning_rate=interval(1,0)"], "method.learning_rate", "below the second"),
        (["sweep=tpe", "method.learning_rate=tag(log,interval(0,1))"], "method.learning_rate", "ends above 0"),
        (["sweep=tpe", "adapter.rr=2,4"], "adapter.rr", "did you mean adapter.r"),
        (["sweep=tpe", RATES, "sweep.points=[{adapter.r: 4}]"], "sweep.points", "does not vary here"),
        (["sweep=tpe", RATES, "sweep.points=[{method.learning_rate: 7}]"], "sweep.points", "outside of"),
        (["sweep=tpe", RATES, "sweep.seeds=[1,2]"], "sweep.seeds", "is of a grid"),
        (["sweep=asha", RATES, "method.max_steps=null"], "method.max_steps", "method.max_steps=N"),
        (["sweep=asha", RATES, "sweep.metric=train_loss"], "sweep.metric", "goes by eval_loss"),
        (["sweep=asha", RATES, "evaluation.max_rows=0"], "evaluation.max_rows", "leave evaluation.max_rows=0 out"),
        (["sweep=random", "adapter.r=4,-1"], "adapter.r", "-1"),
    ],
)
def test_a_wrong_search_is_refused_before_anything_is_written(
    home: Home, words: list[str], field: str, says: str
) -> None:
    before = sorted(path.name for path in (home.folder / "runs").glob("*"))
    assert says in home.refused(*words)[field]
    assert sorted(path.name for path in (home.folder / "runs").glob("*")) == before


def test_own_options_are_those_of_the_beginning(home: Home) -> None:
    own = home.folder / "own" / "sweep" / "mine.yaml"
    own.parent.mkdir(parents=True)
    (home.folder / "own" / "adapter").mkdir()
    narrow = home.folder / "own" / "adapter" / "narrow.yaml"
    narrow.write_text("name: narrow\nkind: lora\nr: 3\n")
    own.write_text("search: tpe\ntrials: 1\naxes:\n  method.learning_rate: tag(log,interval(1e-4,1e-1))\n")
    sweep = home.search("own", "--config-dir", str(own.parents[1]), "sweep=mine", "adapter=narrow")
    narrow.write_text("name: narrow\nkind: lora\nr: 5\n")
    home.run("sweeps", "extend", str(sweep.path), "sweep.trials=2")
    assert [folder.config().adapter.r for folder in folders(sweep)] == [3, 3]


def test_a_hopeless_trial_is_pruned(tmp_path: Path) -> None:
    home = Home(tmp_path, PRETEND_SLEEP="0.2")
    points = ",".join(f"{{method.learning_rate: {rate}}}" for rate in (1e-2, 1.1e-2, 1.2e-2, 1.3e-2, 1.4e-2, 1e-4))
    more = ["evaluation.interval=2", "sweep.prune=median", "sweep.trials=6", f"sweep.points=[{points}]"]
    sweep = home.search("median", "sweep=tpe", RATES, *more)
    assert [job.completed for job in jobs(sweep)] == [True] * 5 + [False]
    assert folders(sweep)[-1].result()["status"] == "pruned"
    assert jobs(sweep)[-1].value == evaluations(folders(sweep)[-1]).popitem()[1]


def test_an_interrupted_search_goes_on_with_its_trial(tmp_path: Path) -> None:
    """SIGTERM to the one worker: it leaves with 130, and the same command makes the steps that are missing."""
    home = Home(tmp_path, PRETEND_SLEEP="0.2")
    line = home.words("sweep.name=left", "sweep=random", RATES, "sweep.trials=2")
    command = [sys.executable, "-m", "launcher", *line]
    first = subprocess.Popen(command, cwd=home.folder, env=home.environment, stderr=subprocess.DEVNULL)
    sweep = SweepFolder(home.folder / "runs" / "left")
    try:
        _busy(sweep, first)
        first.send_signal(signal.SIGTERM)
        assert first.wait(60) == 130
    finally:
        first.kill()
        first.wait()
    assert [job.running for job in jobs(sweep)] == [True]
    home.run("launcher", *line)
    assert [job.completed for job in jobs(sweep)] == [True, True]
    assert [steps(folder) for folder in folders(sweep)] == [list(range(1, 19))] * 2
    assert len(attempts(folders(sweep)[0])) == 2
