"""Submitting a grid: what sbatch gets, what is never submitted twice, what a killed launcher leaves."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conf.folder import RunFolder, write_json
from launcher.cli import main
from launcher.errors import AssetsMissing
from launcher.freeze import claim
from sweeps import arrays
from sweeps.cli import main as sweeps
from sweeps.folder import SweepFolder, run_of
from tests.launcher.fakes import FakeSlurm

LINE = ["+model=smollm2_135m", "cluster=8xh100", "site.prepare=run", "-m", "sweep.name=mine"]
CONFIG = "MaxArraySize = {array}\nMaxJobCount = {jobs}\nSLURM_VERSION = 22.05.8\n"


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("SLURM", "SBATCH"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fake = FakeSlurm(tmp_path / "bin")
    fake.install(monkeypatch)
    limits(fake)
    return fake


@pytest.fixture
def sweep(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "runs" / "mine")


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*LINE, *words, "--json"]) == code
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def limits(slurm: FakeSlurm, array: int = 1001, jobs: int = 10000) -> None:
    slurm.answer("scontrol", 0, CONFIG.format(array=array, jobs=jobs))


def queued(slurm: FakeSlurm, *jobs: tuple[str, str, str]) -> None:
    """Let squeue show pending jobs: id, name, working folder."""
    lines = ["\x1f".join((job, "PENDING", "Priority", "N/A", "", place, name)) for job, name, place in jobs]
    slurm.answer("squeue", 0, "".join(line + "\n" for line in lines))


def flag(call: list[str], name: str) -> str | None:
    return next((word.partition("=")[2] for word in call if word.startswith(f"--{name}=")), None)


def test_one_sbatch_for_all_trials(slurm: FakeSlurm, sweep: SweepFolder, capsys: pytest.CaptureFixture[str]) -> None:
    document = said(capsys, "adapter.r=4,8,16", "sweep.seeds=[1,2]", "sweep.parallel=4")
    assert (document["trials"], document["submitted"], document["jobs"]) == (6, 6, ["1001"])
    (call,) = slurm.submitted()
    assert flag(call, "array") == "1-6%4"
    lines = sweep.chunk_file(1).read_text().splitlines()
    trials = sweep.trials()
    assert [trial["group"] for trial in trials] == [0, 0, 1, 1, 2, 2]
    for index, (line, trial) in enumerate(zip(lines, trials, strict=True), 1):
        folder = run_of(sweep, trial)
        assert line == str(folder.path)
        assert folder.events()[-1]["job_id"] == f"1001_{index}"
        assert folder.config().adapter.r == trial["values"]["adapter.r"]
        assert folder.config().sweep.parallel is None
        assert folder.script.read_text() == sweep.chunk_script(1).read_text()
        log = str(flag(call, "output")).replace("%a", str(index)).replace("%A", "1001")
        Path(log).touch()
        assert (folder.attempts / f"slurm-1001_{index}.log").exists()
        assert "sweep" not in folder.overrides_file.read_text()


def test_the_same_command_starts_only_what_is_missing_or_failed(
    slurm: FakeSlurm, sweep: SweepFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "adapter.r=4,8,16")
    folders = [run_of(sweep, trial) for trial in sweep.trials()]
    write_json(folders[0].result_file, {"status": "completed"})
    write_json(folders[1].result_file, {"status": "failed", "cause": "worker_crash"})
    queued(slurm, ("1001_3", "mine.0001", str(sweep.path)))
    document = said(capsys, "adapter.r=4,8,16")
    assert (document["submitted"], document["finished"], document["active"]) == (1, 1, 1)
    assert sweep.chunk_file(2).read_text() == f"{folders[1].path}\n"
    assert folders[1].events()[-1]["job_id"] == "1002_1"
    assert not folders[1].result_file.exists()


def test_widening_adds_only_the_new_ones(
    slurm: FakeSlurm, sweep: SweepFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "adapter.r=4,8")
    queued(slurm, *((f"1001_{index}", "mine.0001", str(sweep.path)) for index in (1, 2)))
    assert said(capsys, "adapter.r=4,8,16")["submitted"] == 1
    queued(slurm, *((f"{job}", "mine.0001", str(sweep.path)) for job in ("1001_1", "1001_2", "1002_1")))
    assert sweeps(["extend", "mine", "adapter.r=8,32", "--json"]) == 0
    assert [trial["values"]["adapter.r"] for trial in sweep.trials()] == [4, 8, 16, 32]
    assert [flag(call, "array") for call in slurm.submitted()] == ["1-2", "1-1", "1-1"]
    assert len(sweep.sweep()["words"]) == 3


def test_a_run_of_another_sweep_is_shared(slurm: FakeSlurm, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said(capsys, "adapter.r=4,8")
    first = SweepFolder(tmp_path / "runs" / "mine")
    queued(slurm, *((f"1001_{index}", "mine.0001", str(first.path)) for index in (1, 2)))
    document = said(capsys, "adapter.r=8,16", "sweep.name=other")
    assert (document["active"], document["submitted"]) == (1, 1)


def test_shapes_have_arrays_of_their_own_and_share_the_limit(
    slurm: FakeSlurm, sweep: SweepFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sweep.zip=[{model:[smollm2_135m,smollm2_360m],cluster:[1xh100,2xh100]}]", "seed=1,2,3"]
    line = ["-m", "sweep.name=mine", "site.prepare=run", *words, "sweep.parallel=3", "--json"]
    assert main(line) == 0, capsys.readouterr().err
    calls = slurm.submitted()
    assert [flag(call, "array") for call in calls] == ["1-3%2", "1-3%1"]
    assert [("gpu:h100:1" in sweep.chunk_script(number).read_text()) for number in (1, 2)] == [True, False]


def test_arrays_are_split_at_the_sites_limit_and_follow_each_other(
    slurm: FakeSlurm, sweep: SweepFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    limits(slurm, array=4)
    assert said(capsys, "seed=range(0,8)", "sweep.parallel=2")["jobs"] == ["1001", "1002", "1003"]
    calls = slurm.submitted()
    assert [flag(call, "array") for call in calls] == ["1-3%2", "1-3%2", "1-2%2"]
    assert [flag(call, "dependency") for call in calls] == [None, "afterany:1001", "afterany:1002"]


def test_what_is_over_the_submit_limit_waits_for_continue(
    slurm: FakeSlurm, sweep: SweepFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    limits(slurm, jobs=3)
    assert said(capsys, "seed=range(0,8)")["waiting"] == 5
    assert (sweep.chunks / arrays.WAITING).exists(), "the batch script looks for it"
    assert len(list(sweep.root.glob("smollm2*"))) == 8, "all are frozen first"
    queued(slurm, ("1001_3", "mine.0001", str(sweep.path)))
    for trial in sweep.trials()[:2]:
        write_json(run_of(sweep, trial).result_file, {"status": "completed"})
    assert sweeps(["continue", "mine"]) == 0
    assert flag(slurm.submitted()[-1], "array") == "1-2"
    queued(slurm)
    assert sweeps(["continue", "mine"]) == 0
    assert not (sweep.chunks / arrays.WAITING).exists()
    numbers = [number for line in sweep.ledger() if line["event"] == "submitted" for number in line["elements"]]
    assert numbers == list(range(8))


class Killed(BaseException):
    """As good as a kill: nothing of ours catches it."""


@pytest.mark.parametrize("event", ["submitting", "submitted", "recorded"])
def test_a_launcher_killed_at_any_write_is_finished_by_the_same_command(
    event: str,
    slurm: FakeSlurm,
    sweep: SweepFolder,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before sbatch, after it, and when the runs were told: each trial has one job in the end."""
    append = SweepFolder.append_ledger

    def dying(self: SweepFolder, said: str, **more: Any) -> None:
        if said == event:
            raise Killed
        append(self, said, **more)

    with monkeypatch.context() as patch:
        patch.setattr(SweepFolder, "append_ledger", dying)
        with pytest.raises(Killed):
            main([*LINE, "adapter.r=4,8"])
    taken = len(slurm.submitted())
    assert taken == (0 if event == "submitting" else 1)
    if taken:
        queued(slurm, *((f"1001_{index}", "mine.0001", str(sweep.path)) for index in (1, 2)))
    document = said(capsys, "adapter.r=4,8")
    assert (document["submitted"], document["active"]) == ((0, 2) if taken else (2, 0))
    assert len(slurm.submitted()) == 1
    for index, trial in enumerate(sweep.trials(), 1):
        starts = [each["job_id"] for each in run_of(sweep, trial).events() if each["event"] == "submitted"]
        assert starts == [f"1001_{index}"]


def test_a_launcher_killed_between_two_runs_tells_the_others_later(
    slurm: FakeSlurm, sweep: SweepFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sweeps import ledger

    told = ledger.tell

    def dying(folder: RunFolder, job_id: str, **more: Any) -> None:
        if job_id == "1001_2":
            raise Killed
        told(folder, job_id, **more)

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "tell", dying)
        with pytest.raises(Killed):
            main([*LINE, "adapter.r=4,8"])
    queued(slurm, *((f"1001_{index}", "mine.0001", str(sweep.path)) for index in (1, 2)))
    assert said(capsys, "adapter.r=4,8")["active"] == 2
    assert len(slurm.submitted()) == 1


def test_a_refusal_leaves_folders_that_the_corrected_command_takes(
    slurm: FakeSlurm, sweep: SweepFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm.answer("sbatch", 1, "sbatch: error: invalid partition specified: nope")
    assert said(capsys, "seed=1,2", "site.partition=nope", code=3)["exit_code"] == 3
    (slurm.folder / "sbatch.answer").unlink()
    assert said(capsys, "seed=1,2")["submitted"] == 2
    assert "nope" not in sweep.chunk_script(1).read_text()


def test_failed_trials_are_retried_by_number(
    slurm: FakeSlurm, sweep: SweepFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "seed=range(0,4)")
    for trial, status in zip(sweep.trials(), ("completed", "failed", "failed", "cancelled"), strict=True):
        write_json(run_of(sweep, trial).result_file, {"status": status})
    assert sweeps(["retry", "mine", "1", "0"]) == 0
    assert sweep.chunk_file(2).read_text() == f"{run_of(sweep, sweep.trials()[1]).path}\n"
    assert flag(slurm.submitted()[-1], "array") == "1-1", "one trial is an array of one"
    queued(slurm, ("1002_1", "mine.0002", str(sweep.path)))
    assert sweeps(["retry", "mine"]) == 0
    assert flag(slurm.submitted()[-1], "array") == "1-2"
    assert sweeps(["retry", "mine", "9"]) == 2
    assert "no trial 9" in capsys.readouterr().err


def test_a_sweep_is_cancelled_by_one_call(
    slurm: FakeSlurm, sweep: SweepFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    limits(slurm, array=3, jobs=4)
    said(capsys, "seed=range(0,6)")
    queued(slurm, *((f"{job}", "mine", str(sweep.path)) for job in ("1001_1", "1001_2", "1002_1", "1002_2")))
    assert sweeps(["cancel", "mine"]) == 0
    assert slurm.calls("scancel") == [["1001", "1002"]]
    statuses = [run_of(sweep, trial).result().get("status") for trial in sweep.trials()]
    assert statuses == ["cancelled"] * 4 + [None] * 2
    assert not (sweep.chunks / arrays.WAITING).exists()
    queued(slurm)
    assert sweeps(["continue", "mine"]) == 0
    assert len(slurm.submitted()) == 2, "what waited was cancelled, too"


def test_a_trial_that_goes_on_in_an_array_of_its_own_belongs_to_the_sweep(
    slurm: FakeSlurm, sweep: SweepFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where requeues are forbidden, twice; a job that somebody else's sweep has for a trial does not."""
    said(capsys, "seed=1,2,3")
    runs = [run_of(sweep, trial) for trial in sweep.trials()]
    runs[0].append_event("submitted", 2, job_id="2001_1")
    runs[0].append_event("submitted", 3, job_id="2002_1")
    runs[1].append_event("submitted", 2, job_id="3001_7")
    elsewhere = str(sweep.path.with_name("other"))
    places = {"1001_3": str(sweep.path), "2002_1": str(sweep.path), "3001_7": elsewhere}
    queued(slurm, *((job, "mine.0001", place) for job, place in places.items()))
    document = said(capsys, "seed=1,2,3")
    assert (document["submitted"], document["active"]) == (0, 3)
    assert sweeps(["cancel", "mine"]) == 0
    assert slurm.calls("scancel") == [["1001", "2002"]]
    assert [run.result().get("status") for run in runs] == ["cancelled", None, "cancelled"]


@pytest.mark.parametrize(("statuses", "code"), [(["failed", "completed"], 4), (["completed", "completed"], 0)])
def test_waiting_ends_with_the_trials_and_says_whether_one_failed(
    slurm: FakeSlurm,
    sweep: SweepFolder,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    statuses: list[str],
    code: int,
) -> None:
    looks: list[float] = []

    def pause(seconds: float) -> None:
        """Time goes by: one trial ends between two looks."""
        run = run_of(sweep, sweep.trials()[len(looks)])
        write_json(run.result_file, {"status": statuses[len(looks)], "step": 1})
        looks.append(seconds)

    monkeypatch.setattr("sweeps.waiting.time", SimpleNamespace(sleep=pause))
    queued(slurm, *((f"1001_{index}", "mine.0001", str(sweep.path)) for index in (1, 2)))
    document = said(capsys, "seed=1,2", "--wait", code=code)
    assert document["states"] == {status: statuses.count(status) for status in statuses}
    assert len(looks) == 2 and looks[0] < looks[1], "Slurm is asked less often as time goes by"


def test_a_job_that_prepares_comes_before_the_array(
    slurm: FakeSlurm, sweep: SweepFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """One for each set of weights and rows."""
    document = said(capsys, "site.prepare=job", "adapter.r=4,8", "data.max_length=128,256")
    first, second, array = slurm.submitted()
    assert [Path(next(word for word in call if word.endswith(".sbatch"))).name for call in (first, second)] == [
        "prepare.sbatch"
    ] * 2
    assert flag(array, "array") == "1-4"
    assert flag(array, "dependency") == "afterok:1001,afterok:1002"
    assert document["jobs"] == ["1003"]


def test_trials_wait_for_the_run_that_after_names(
    slurm: FakeSlurm, sweep: SweepFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*(word for word in LINE if word not in ("-m", "sweep.name=mine")), "name=first"]) == 0
    said(capsys, "after=first", "seed=1,2")
    assert flag(slurm.submitted()[-1], "dependency") == "afterok:1001"


def test_two_launchers_do_not_work_on_one_sweep(
    slurm: FakeSlurm, sweep: SweepFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said(capsys, "seed=1,2")
    monkeypatch.setattr("sweeps.submit.LOCK_WAIT", 0.0)
    handle = claim(sweep.path, 0)
    assert handle is not None
    assert sweeps(["continue", "mine"]) == 2
    assert "another launcher" in capsys.readouterr().err
    os.close(handle)


def test_shared_data_is_prepared_once_and_named_in_every_manifest(
    slurm: FakeSlurm, sweep: SweepFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def prepare(folder: RunFolder, words: list[str], quiet: bool = False) -> None:
        calls.append(words[1:])
        for each in map(RunFolder, words[1:]):
            assets = {name: {"path": str(each.path)} for name in ("model", "data")}
            write_json(each.manifest_file, each.manifest() | {"assets": assets})

    monkeypatch.setattr("sweeps.assets.run_trainer", prepare)
    line = [word for word in LINE if not word.startswith("site.prepare")]
    assert main([*line, "adapter.r=4,8", "data.max_length=128,256", "sweep.seeds=[1,2]"]) == 0
    assert [len(call) for call in calls] == [2], "one process, and in it one run for each length of the rows"
    kept = [run_of(sweep, trial).manifest()["assets"] for trial in sweep.trials()]
    assert len(kept) == 8 and all(kept) and len({each["data"]["path"] for each in kept}) == 2


def test_a_preparation_that_fails_submits_nothing(
    slurm: FakeSlurm, sweep: SweepFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: RunFolder, words: list[str], quiet: bool = False) -> None:
        raise AssetsMissing("no weights")

    monkeypatch.setattr("sweeps.assets.run_trainer", fail)
    line = [word for word in LINE if not word.startswith("site.prepare")]
    assert main([*line, "adapter.r=4,8"]) == 5
    assert slurm.submitted() == []
    assert list(sweep.root.glob("smollm2*")) == []


@pytest.mark.parametrize(("task", "looks"), [("1", 3), ("2", 5)])
def test_of_two_elements_that_end_at_one_time_the_last_waits_longer(
    slurm: FakeSlurm,
    sweep: SweepFolder,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    task: str,
    looks: int,
) -> None:
    """Each sees the other as long as both wait; were they as patient, nobody would submit the third trial."""
    limits(slurm, jobs=2)
    assert said(capsys, "seed=range(0,3)")["waiting"] == 1
    queued(slurm, *((f"1001_{number}", "mine.0001", str(sweep.path)) for number in (1, 2)))
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "1001")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", task)
    now: list[float] = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[-1], sleep=lambda _: now.append(now[-1] + 30))
    monkeypatch.setattr("sweeps.continue_.time", clock)
    assert sweeps(["continue", "mine", "--patience", "60"]) == 0
    assert len(now) - 1 == looks
    assert len(slurm.submitted()) == 1
