"""Verb best: the winner's command, printed or launched."""

import json
import shlex
from pathlib import Path

import pytest

from conf.folder import RunFolder
from sweeps.cli import main
from tests.launcher.fakes import FakeSlurm
from tests.sweeps import results

Capture = pytest.CaptureFixture[str]
LINE = ["python", "-m", "launcher", "model=m", "cluster=8xh100", "adapter.r=16", "method.learning_rate=0.001", "seed=1"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")


def test_the_command_of_the_best_configuration(capsys: Capture) -> None:
    results.grid(Path("runs"))
    assert main(["best", "ranks"]) == 0
    captured = capsys.readouterr()
    assert shlex.split(captured.out) == LINE
    assert "adapter.r=16, method.learning_rate=0.001: eval_loss 2.0075 ± 0.0035 over 2 seeds; trial 8" in captured.err


def test_the_document_for_programs(capsys: Capture) -> None:
    results.grid(Path("runs"))
    assert main(["best", "ranks", "--json"]) == 0
    (winner,) = json.loads(capsys.readouterr().out)["winners"]
    assert winner["command"] == LINE
    assert (winner["rank"], winner["trial"]["number"], winner["metrics"]["eval_loss"]["n"]) == (1, 8, 2)


def test_words_that_a_shell_would_read_are_quoted_and_the_folder_of_options_is_kept(capsys: Capture) -> None:
    sweep = results.sweep(Path("runs"), config_dir="/my options")
    results.completed(results.trial(sweep, {"data.path": "$(touch x); a b"}), 1.0)
    assert main(["best", "ranks"]) == 0
    line = shlex.split(capsys.readouterr().out)
    assert line[2:5] == ["launcher", "--config-dir", "/my options"]
    assert line[-1] == "data.path=$(touch x); a b"


def test_a_running_sweep_has_a_best_so_far_and_says_what_is_missing(capsys: Capture) -> None:
    sweep = results.sweep(Path("runs"))
    results.begun(results.trial(sweep, {"x": 0}), last=40)
    assert main(["best", "ranks"]) == 0
    assert "no trial of it has completed: step 40/100" in capsys.readouterr().err
    results.completed(results.trial(sweep, {"x": 1, "seed": 1}, 1), 3.0)
    results.failed(results.trial(sweep, {"x": 1, "seed": 2}, 1))
    assert main(["best", "ranks"]) == 0
    captured = capsys.readouterr()
    assert captured.out.endswith("x=1 seed=1\n")
    assert "1 of its 2 trials have not completed" in captured.err


def test_nothing_to_rank_is_said(capsys: Capture) -> None:
    sweep = results.sweep(Path("runs"))
    results.trial(sweep, {"x": 0})
    assert main(["best", "ranks"]) == 2
    assert "no trial with eval_loss yet" in capsys.readouterr().err
    assert main(["best", "ranks", "--trial", "7"]) == 2
    assert "trials 0 to 0" in capsys.readouterr().err


def test_a_front_is_printed_as_a_whole_and_one_of_it_is_to_be_chosen(capsys: Capture) -> None:
    sweep = results.sweep(Path("runs"), objectives=[{"metric": "eval_loss"}, {"metric": "tokens_per_second"}])
    for x, (loss, speed) in enumerate(((1.0, 10.0), (2.0, 20.0), (3.0, 5.0))):
        results.completed(results.trial(sweep, {"x": x}), loss, tokens_per_second=speed)
    assert main(["best", "ranks"]) == 0
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["x=0", "x=1"]
    assert main(["best", "ranks", "--apply"]) == 2
    assert "--trial one of 0, 1" in capsys.readouterr().err


def test_apply_launches_the_winner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    slurm = FakeSlurm(tmp_path / "bin")
    slurm.install(monkeypatch)
    sweep = results.sweep(Path("runs"))
    run = results.completed(results.trial(sweep, {"adapter.r": 4}), 1.0)
    words = ["model=smollm2_135m", "cluster=8xh100", "site.prepare=run", "adapter.r=4", "sweep.name=s", "name=winner"]
    run.overrides_file.write_text(json.dumps(words))
    assert main(["best", "ranks", "--apply", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run_id"] == "winner"
    assert len(slurm.submitted()) == 1
    assert RunFolder("runs/winner").config().adapter.r == 4
