"""The plan says how an interrupted run goes on: by the site's file, else by what the probe has found, else open."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from conf.folder import RunFolder, write_json
from launcher.cli import main
from launcher.site import remember
from launcher.slurm.facts import History, SiteFacts
from launcher.slurm.probe import PROGRAMS
from tests.launcher.fakes import FakeSlurm

Capture = pytest.CaptureFixture[str]
LINE = ["plan", "+model=llama3_8b", "+cluster=8xh100"]
FACTS = SiteFacts(asked="", programs={}, job_requeue=True)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    fake = FakeSlurm(tmp_path / "bin")
    fake.install(monkeypatch)
    return fake


def known(facts: SiteFacts) -> None:
    """The probe has asked a moment ago."""
    from datetime import UTC, datetime

    from launcher.slurm.command import available

    programs = {program: available(program) for program in PROGRAMS}
    remember(replace(facts, asked=datetime.now(UTC).isoformat(), programs=programs))


@pytest.mark.parametrize(
    ("facts", "words", "expected"),
    [
        (None, [], "not known"),
        (FACTS, [], "requeue"),
        (replace(FACTS, submit_plugins=("lua",)), [], "not known"),
        (replace(FACTS, submit_plugins=("lua",), requeue_tried=False), [], "singleton chain"),
        (FACTS, ["site.requeue=false"], "singleton chain"),
        (replace(FACTS, requeue_tried=False), ["site.requeue=true"], "requeue"),
    ],
)
def test_the_plan_says_how_a_run_goes_on(
    slurm: FakeSlurm, capsys: Capture, facts: SiteFacts | None, words: list[str], expected: str
) -> None:
    if facts is not None:
        known(facts)
    assert main([*LINE, *words, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["site"]["goes_on"] == expected
    asks = "no-requeue" if words == ["site.requeue=false"] else "requeue"
    assert f"#SBATCH --{asks}\n" in plan["script"]
    assert main([*LINE, *words]) == 0
    said = " ".join(capsys.readouterr().out.split())
    words_of = {"requeue": "(requeue)", "singleton chain": "(singleton chain)", "not known": "doctor --from-node"}
    assert "goes on after an interruption" in said and words_of[expected] in said
    assert not any(slurm.calls(program) for program in PROGRAMS)


def test_a_run_folder_without_that_word_leaves_it_open(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.goes_on == "not known"
    write_json(folder.plan_file, {"site": {"goes_on": "by magic"}})
    assert folder.goes_on == "not known"


def test_the_plan_keeps_what_the_site_has_seen(slurm: FakeSlurm, capsys: Capture, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for history, expected in ((None, (0, 0.0)), (History(node_failures=3, node_hours=12.5), (3, 12.5))):
        known(replace(FACTS, history=history))
        assert main([*LINE, "--json"]) == 0
        write_json(folder.plan_file, json.loads(capsys.readouterr().out))
        assert folder.site_history == expected


@pytest.mark.parametrize("words", [["name=mine"], ["sweep.name=many", "-m", "seed=1,2"]])
def test_what_is_submitted_goes_on_as_its_plan_says(slurm: FakeSlurm, words: list[str], tmp_path: Path) -> None:
    """The run, and each trial of a sweep, has in its folder what the probe knew; a run that is started again, anew."""
    command = ["+model=smollm2_135m", "+cluster=2x8xh100", "site.prepare=run", *words]
    for facts, way in (
        (replace(FACTS, history=History(2, 8.0)), "requeue"),
        (replace(FACTS, requeue_tried=False, history=History(3, 9.0)), "singleton chain"),
    ):
        known(facts)
        assert main(command) == 0
        folders = [RunFolder(plan.parent) for plan in (tmp_path / "runs").glob("*/plan.json")]
        runs = [folder for folder in folders if folder.config_file.exists()]
        assert len(runs) == len(words) - (len(words) > 1)
        assert facts.history is not None
        expected = (facts.history.node_failures, facts.history.node_hours)
        assert [(run.goes_on, run.site_history) for run in runs] == [(way, expected)] * len(runs)


def test_a_local_run_has_no_such_row(slurm: FakeSlurm, capsys: Capture) -> None:
    assert main(["plan", "+model=llama3_8b", "+cluster=local", "--json"]) == 0
    assert "goes_on" not in json.loads(capsys.readouterr().out)["site"]
