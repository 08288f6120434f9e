"""checkpoint.interval=auto: the formula, its bounds, and a run that follows it."""

import random
from pathlib import Path
from typing import Any

import pytest

from conf.folder import RunFolder, write_json
from tests.trainer.runs import make_run, start_workers, wait, weights
from trainer.attempt import LEFT, surprises
from trainer.interval import (
    FIRST_SECONDS,
    MOST_SECONDS,
    NODE_HOURS,
    AutoInterval,
    expected,
    node_hours,
    steps_between,
    young_daly,
)


def lost(interval: float, cost: float, between: float) -> float:
    """Share of the time that goes to saves, and to work that a failure undoes, by first order."""
    return cost / interval + interval / (2 * between)


def test_no_other_interval_loses_less() -> None:
    dice = random.Random(3)
    for _ in range(200):
        cost, between = dice.uniform(0.01, 300), dice.uniform(600, 1e7)
        best = young_daly(cost, between)
        assert all(lost(best, cost, between) <= lost(best * factor, cost, between) for factor in (0.5, 0.9, 1.1, 2))


def test_it_stays_between_a_step_and_an_hour() -> None:
    dice = random.Random(4)
    for _ in range(500):
        cost, write = 10 ** dice.uniform(-4, 4), 10 ** dice.uniform(-4, 4)
        between, step = 10 ** dice.uniform(-3, 9), 10 ** dice.uniform(-3, 4)
        steps = steps_between(cost, write, between, step)
        assert steps >= 1
        assert steps == 1 or steps * step <= MOST_SECONDS
        # Dearer saves and rarer failures never make it shorter, and a save is over before the next is due.
        assert steps_between(2 * cost, write, between, step) >= steps
        assert steps_between(cost, write, 2 * between, step) >= steps
        assert (steps + 1) * step > min(write, MOST_SECONDS)


def test_more_nodes_fail_more_often_and_the_first_save_comes_soon() -> None:
    auto = AutoInterval(NODE_HOURS, nodes=8, step=0)
    assert auto.between == NODE_HOURS * 3600 / 8
    due = [step for step in range(1, 701) if auto.step_done(step, 1.0)]
    assert due[0] == FIRST_SECONDS
    auto.saved = 600
    auto.measure(0.5, 20.0)
    choice = auto.choose()
    assert choice.measured and choice.steps == int(young_daly(0.5, auto.between))
    assert not any(auto.step_done(600 + step, 1.0) for step in range(1, choice.steps))
    assert auto.step_done(600 + choice.steps, 1.0) == choice


def test_what_the_run_has_seen_outweighs_the_default() -> None:
    assert node_hours(0, 0.0) == pytest.approx(NODE_HOURS)
    dice = random.Random(5)
    for _ in range(200):
        failures, held = dice.randint(1, 50), dice.uniform(0.1, 1e4)
        found = node_hours(failures, held)
        assert min(held / failures, NODE_HOURS) <= found <= max(held / failures, NODE_HOURS)
        assert node_hours(failures + 1, held) < found < node_hours(failures, held + 1)
    # After ten failures, one in two hours, the default has little left to say.
    assert node_hours(10, 20.0) < 10 * 2.1


def test_the_worst_that_was_seen_counts() -> None:
    quiet, lost = (0, 1e5), (3, 6.0)
    assert expected((0, 0.0), (0, 0.0)) == expected((0, 900.0), quiet) == NODE_HOURS
    # A quiet site does not hide a run that is lost every other hour, nor a quiet run a site that fails.
    assert expected(lost, quiet) == node_hours(*lost) < 70
    assert expected((0, 10.0), (10, 1000.0)) == node_hours(10, 1010.0) < 120


@pytest.mark.train
def test_a_run_counts_what_its_site_has_seen(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "site", checkpoint={"interval": "auto"}, evaluation={"max_rows": 0})
    write_json(folder.plan_file, {"site": {"history": {"node_failures": 10**12, "node_hours": 1.0}}})
    assert wait(start_workers(folder)) == [0]
    [first, *_] = [event for event in folder.events() if event["event"] == "interval_chosen"]
    assert first["between"] < 1.0 and first["steps"] == 1


def test_only_attempts_that_saved_nothing_at_their_end_count(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    ends: list[tuple[str | None, int, int | None]] = [
        ("preempted", 7, 7), ("preempted", 7, None), ("preempted", 8, None), ("worker_killed", 8, None),
        ("stopped", 9, None), (None, 9, None),
    ]  # fmt: skip
    for number, (cause, step, saved) in enumerate(ends, 1):
        attempt = folder.attempt_folder(number)
        attempt.mkdir(parents=True)
        ended = None if cause is None else "2026-01-01T01:30:00+00:00"
        write_json(attempt / "attempt.json", {"started": "2026-01-01T01:00:00+00:00", "ended": ended, "cause": cause,
                                              "step": step, "nodes": ["a", "b"]})  # fmt: skip
        if saved is not None:
            write_json(attempt / LEFT, {"step": saved})
    # Of the three preempted ones the first has saved, and the second had no step to save.
    assert surprises(folder) == (2, 5.0)


@pytest.mark.train
def test_a_run_saves_when_it_says(tmp_path: Path) -> None:
    """At so many failures it is always time; what is saved changes nothing in what is trained."""
    groups: dict[str, Any] = {"evaluation": {"max_rows": 0}, "batch": {"global": 4, "micro": 1}}
    often = {"interval": "auto", "mtbf_hours": 1e-9, "keep": 99}
    auto = make_run(tmp_path, "auto", world=2, checkpoint=often, **groups)
    rarely = make_run(tmp_path, "rarely", world=2, checkpoint={"interval": "auto"}, **groups)
    for folder in (auto, rarely):
        assert wait(start_workers(folder, world=2)) == [0, 0]
    saved = [
        [event["step"] for event in folder.events() if event["event"] == "checkpoint_committed"]
        for folder in (auto, rarely)
    ]
    chosen = [event for event in auto.events() if event["event"] == "interval_chosen"]
    assert (chosen[0]["step"], chosen[0]["steps"], chosen[0]["measured"]) == (1, 1, False)
    assert chosen[0]["between"] == pytest.approx(0, abs=0.1) and chosen[0]["step_seconds"] > 0
    assert saved[0][0] == 1 and saved[0][-1] == 6
    # After the first, a save is due no sooner than one takes.
    assert chosen[1]["measured"] and chosen[1]["write"] > 0
    assert saved[1] == [6]
    found, expected = weights(auto.adapter), weights(rarely.adapter)
    assert all((found[name] == tensor).all() for name, tensor in expected.items())
