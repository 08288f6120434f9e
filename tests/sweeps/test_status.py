"""Verb status: the table in a terminal and for programs, in any state of a sweep."""

import json
from pathlib import Path

import pytest

from sweeps.cli import main
from tests.launcher.fakes import FakeSlurm
from tests.launcher.folders import squeue_line
from tests.sweeps import results

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    monkeypatch.chdir(tmp_path)
    fake = FakeSlurm(tmp_path / "bin")
    fake.install(monkeypatch)
    return fake


@pytest.mark.parametrize(("columns", "heading"), [(80, " r "), (120, " adapter.r ")])
def test_the_table_fits_its_terminal(
    columns: int, heading: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    results.grid(Path("runs"))
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["status", "ranks"]) == 0
    out = capsys.readouterr().out
    (title,) = [line for line in out.splitlines() if "eval_loss" in line]
    assert heading in title
    table = [line for line in out.splitlines() if "±" in line]
    assert len(table) == 8
    assert table[0].split() == ["1", "16", "0.001", "2.0075", "±", "0.0035", "2", "100/100", "16", "2", "completed"]
    assert max(len(line) for line in table) <= columns
    assert "trial 16  trial-16: out of memory: rank 3: CUDA out of memory" in out
    assert "trial 17  trial-17: job 77_18 is gone without a word\n" in out
    assert "python -m sweeps retry ranks" in out


def test_slurm_is_asked_once(slurm: FakeSlurm, capsys: Capture) -> None:
    sweep = results.sweep(Path("runs"))
    lines = [squeue_line(results.begun(results.trial(sweep, {"x": x}), last=40), "77_1", "RUNNING") for x in range(5)]
    slurm.answer("squeue", 0, lines[0])
    assert main(["status", "ranks", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["states"] == {"running": 5}
    assert len(slurm.calls("squeue")) == 1


def test_the_document_for_programs(capsys: Capture) -> None:
    results.grid(Path("runs"))
    assert main(["status", "ranks", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["sweep_id"], told["kind"], told["failed"]) == ("ranks", "grid", [16, 17])
    assert told["objectives"] == [{"metric": "eval_loss", "direction": "minimize"}]
    assert told["configurations"][0]["metrics"]["eval_loss"]["n"] == 2
    assert told["trials"][16]["cause"] == "out_of_memory"
    assert told["trials"][0]["values"] == {"adapter.r": 8, "method.learning_rate": 1e-4, "seed": 1}
    assert told["gpu_hours"] == pytest.approx(16 * 8 + 8)


def test_an_empty_sweep_and_one_that_waits(capsys: Capture) -> None:
    sweep = results.sweep(Path("runs"))
    assert main(["status", "ranks"]) == 0
    assert "without trials yet" in capsys.readouterr().out
    results.trial(sweep, {"x": 1})
    assert main(["status", "ranks"]) == 0
    out = capsys.readouterr().out
    assert "1 waiting" in out
    assert "python -m sweeps continue ranks" in out


def test_hostile_words_stay_inert(capsys: Capture) -> None:
    sweep = results.sweep(Path("runs"))
    run = results.trial(sweep, {"data.path": "\x1b[2J[bold]x[/bold]"})
    results.failed(run, message="\x1b]0;owned\x07 [red]no[/red]")
    assert main(["status", "ranks"]) == 0
    out = capsys.readouterr().out
    assert "\x1b]" not in out
    assert "\x1b[2J" not in out
    assert "[bold]x[/bold]" in out.replace("\n", "")
    assert "[red]no[/red]" in out


def test_an_unknown_sweep_is_said_with_the_nearest(capsys: Capture) -> None:
    results.grid(Path("runs"))
    assert main(["status", "rank"]) == 2
    assert "did you mean ranks" in capsys.readouterr().err
