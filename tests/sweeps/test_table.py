"""The ranked table: spread over seeds, ranks, causes, what trials held."""

from pathlib import Path
from typing import Any

import pytest

from conf.folder import write_json
from sweeps.cost import gpu_hours
from sweeps.importance import importance
from sweeps.ranking import Objective, Spread, beaten_by, objectives
from sweeps.table import failed_trials, read_table
from tests.launcher import folders
from tests.sweeps import results

LOSS = Objective("eval_loss", "minimize")


@pytest.fixture(autouse=True)
def no_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")


def test_configurations_are_ranked_by_their_mean_over_seeds(tmp_path: Path) -> None:
    table = read_table(results.grid(tmp_path))
    best = table.configurations[0]
    spread = best.spreads["eval_loss"]
    assert best.values == {"adapter.r": 16, "method.learning_rate": 1e-3}
    assert [trial.number for trial in best.trials] == [8, 9]
    assert spread is not None
    assert [spread.mean, spread.std, spread.n] == pytest.approx([2.0075, 0.0035355, 2], rel=1e-4)
    assert [each.rank for each in table.configurations] == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert table.parameters == ["adapter.r", "method.learning_rate", "seed"]
    assert dict(table.states()) == {"completed": 16, "failed": 1, "queued": 1}


def test_a_lucky_seed_does_not_win(tmp_path: Path) -> None:
    sweep = results.sweep(tmp_path)
    for group, losses in enumerate(((1.0, 5.0), (2.0, 2.1))):
        for seed, loss in enumerate(losses):
            results.completed(results.trial(sweep, {"x": group, "seed": seed}, group), loss)
    assert [each.values["x"] for each in read_table(sweep).configurations] == [1, 0]


def test_what_has_completed_comes_before_what_has_not(tmp_path: Path) -> None:
    sweep = results.sweep(tmp_path)
    results.begun(results.trial(sweep, {"x": 0}), loss=1.0)
    results.completed(results.trial(sweep, {"x": 1}), 3.0)
    results.trial(sweep, {"x": 2})
    found = [(each.values["x"], each.rank) for each in read_table(sweep).configurations]
    assert found == [(1, 1), (0, 2), (2, None)]


def test_failed_trials_with_their_causes(tmp_path: Path) -> None:
    sweep = results.grid(tmp_path)
    (trial,) = failed_trials(sweep)
    assert (trial.number, trial.run_id, trial.state, trial.cause) == (16, "trial-16", "failed", "out_of_memory")
    assert trial.why() == "out of memory: rank 3: CUDA out of memory"


def test_a_trial_that_was_never_submitted_waits(tmp_path: Path) -> None:
    sweep = results.sweep(tmp_path)
    results.trial(sweep, {"x": 1})
    sweep.append_trial({"number": 1, "run_id": "not-frozen", "values": {"x": 2}, "group": 1, "shape": 0})
    assert [trial.state for trial in read_table(sweep).trials] == ["waiting", "waiting"]


def test_two_trials_may_share_one_run(tmp_path: Path) -> None:
    first, second = results.sweep(tmp_path, "a"), results.sweep(tmp_path, "b")
    results.completed(results.trial(first, {"x": 1}, run_id="shared"), 2.0)
    second.append_trial({"number": 0, "run_id": "shared", "values": {"x": 1}, "group": 0, "shape": 0})
    (trial,) = read_table(second).trials
    assert (trial.state, trial.metrics["eval_loss"], trial.gpu_hours) == ("completed", 2.0, 8.0)


def test_hours_are_summed_over_attempts_and_devices(tmp_path: Path) -> None:
    run = results.completed(results.trial(results.sweep(tmp_path), {}), 2.0)
    assert gpu_hours(run) == pytest.approx(8.0)
    run.attempt_folder(2).mkdir()
    record: dict[str, Any] = {"attempt": 2, "nodes": ["n1", "n2"], "started": results.HOUR_LATER}
    record |= {"ended": "2026-01-01T11:30:00.000+00:00", "operational": {"cluster": {"devices_per_node": 4}}}
    write_json(run.attempt_folder(2) / "attempt.json", record)
    assert gpu_hours(run) == pytest.approx(8.0 + 2 * 4 * 0.5)


def test_an_attempt_whose_node_died_is_not_charged_for_the_wait_after_it(tmp_path: Path) -> None:
    run = results.trial(results.sweep(tmp_path), {})
    results.begun(run)
    run.events_file.write_text(
        run.events_file.read_text().replace('"t": "', '"t": "2026-01-01T10:30:00+00:00", "u": "')
    )
    results.ended(run, "node_failure")
    run.attempt_folder(2).mkdir()
    record = {
        "attempt": 2,
        "nodes": ["n1"],
        "started": "2026-01-01T10:59:59.000+00:00",
        "ended": "2026-01-01T10:59:59.000+00:00",
    }
    write_json(run.attempt_folder(2) / "attempt.json", record)
    assert gpu_hours(run) == pytest.approx(4.0)


def test_a_running_trial_holds_until_now(tmp_path: Path) -> None:
    run = results.begun(results.trial(results.sweep(tmp_path), {}))
    assert gpu_hours(run, running=True) > 8 * 24 * 30


def test_several_objectives_give_a_front(tmp_path: Path) -> None:
    goals = [{"metric": "eval_loss", "direction": "minimize"}, {"metric": "tokens_per_second", "direction": "maximize"}]
    sweep = results.sweep(tmp_path, objectives=goals)
    for x, (loss, speed) in enumerate(((1.0, 10.0), (2.0, 20.0), (2.5, 15.0), (3.0, 5.0))):
        results.completed(results.trial(sweep, {"x": x}), loss, tokens_per_second=speed)
    found = [(each.values["x"], each.rank, each.front) for each in read_table(sweep).configurations]
    assert found == [(0, 1, True), (1, 2, True), (2, 3, False), (3, 4, False)]


def test_directions_are_known_by_name() -> None:
    assert objectives({"metric": "tokens_per_second"}) == [Objective("tokens_per_second", "maximize")]
    assert objectives({}) == [LOSS]
    assert beaten_by([[1.0], [1.0], [2.0]]) == [0, 0, 2]


def test_numbers_that_are_none_are_no_result(tmp_path: Path) -> None:
    sweep = results.sweep(tmp_path)
    folders.result(results.begun(results.trial(sweep, {"x": 1})), "completed", eval_loss=None)
    (each,) = read_table(sweep).configurations
    assert (each.rank, each.spreads) == (None, {"eval_loss": None})


@pytest.mark.parametrize("kind", ["grid", "search"])
def test_importance_finds_what_matters(kind: str, tmp_path: Path) -> None:
    table = read_table(results.grid(tmp_path, kind=kind))
    found = importance(table, LOSS)
    assert found is not None
    assert next(iter(found.shares)) == "method.learning_rate"
    assert importance(read_table(results.sweep(tmp_path, "none")), LOSS) is None


def test_a_trial_that_failed_half_way_does_not_count_beside_one_that_completed(tmp_path: Path) -> None:
    sweep = results.sweep(tmp_path)
    results.completed(results.trial(sweep, {"x": 1, "seed": 1}, 0), 2.0)
    results.failed(results.trial(sweep, {"x": 1, "seed": 2}, 0))
    (each,) = read_table(sweep).configurations
    assert each.spreads["eval_loss"] == Spread(2.0, None, 1)


def test_values_that_occur_once_explain_nothing(tmp_path: Path) -> None:
    sweep = results.sweep(tmp_path)
    for x in range(6):
        results.completed(results.trial(sweep, {"x": x / 7, "y": x % 2}), 1.0 + x % 2 + x / 100)
    found = importance(read_table(sweep), LOSS)
    assert found is not None
    assert found.shares == {"y": pytest.approx(0.998, abs=2e-3)}
