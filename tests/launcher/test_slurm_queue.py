"""Reading Slurm's answers: any text is survived, what Slurm writes is understood."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.folder import RunFolder
from launcher.errors import SiteError
from launcher.slurm import queue
from launcher.slurm.command import NoAnswer, Refused, call
from launcher.slurm.queue import ENDED, find, look, parse_sacct, parse_squeue, read_ids, read_state
from tests.launcher.fakes import FakeSlurm

STATES = ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "REQUEUED", *sorted(ENDED))
WORDS = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="|"), min_size=1, max_size=12)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = FakeSlurm(tmp_path / "bin")
    fake.install(monkeypatch)
    return fake


@pytest.mark.parametrize(
    ("written", "ids"),
    [
        ("123", ["123"]),
        (" 123 ", ["123"]),
        ("123_4", ["123_4"]),
        ("123_[5-7%2]", ["123_5", "123_6", "123_7"]),
        ("123_[0,3,8-9]", ["123_0", "123_3", "123_8", "123_9"]),
        ("123_[0-6:3]", ["123_0", "123_3", "123_6"]),
        ("123_[1,3,...]", ["123_1", "123_3"]),
        ("123+0", ["123"]),
        ("123+1_4", ["123_4"]),
        ("123.batch", []),
        ("123_4.0", []),
        ("123_[9-1]", []),
        ("123_[0-99999999999]", []),
        ("N/A", []),
        ("", []),
    ],
)
def test_ids(written: str, ids: list[str]) -> None:
    assert read_ids(written) == ids


@pytest.mark.parametrize(
    ("written", "state"),
    [("RUNNING", "RUNNING"), ("CANCELLED by 0", "CANCELLED"), ("CANCELLED+", "CANCELLED"), ("", "UNKNOWN")],
)
def test_states(written: str, state: str) -> None:
    assert read_state(written) == state


@given(st.text())
def test_no_text_breaks_a_parser(text: str) -> None:
    for job in [*parse_squeue(text), *parse_sacct(text)]:
        assert job.id
    read_ids(text)
    read_state(text)


@given(st.sets(st.integers(0, 500), min_size=1), st.integers(1, 10**9))
def test_arrays_are_expanded_as_slurm_folds_them(tasks: set[int], job: int) -> None:
    folded: list[str] = []
    for task in sorted(tasks):
        first, _, last = folded[-1].partition("-") if folded else ("", "", "")
        if folded and int(last or first) == task - 1:
            folded[-1] = f"{first}-{task}"
        else:
            folded.append(str(task))
    assert read_ids(f"{job}_[{','.join(folded)}%4]") == [f"{job}_{task}" for task in sorted(tasks)]


@given(st.lists(st.tuples(st.integers(1, 10**6), st.sampled_from(STATES), WORDS, WORDS), max_size=5))
def test_squeue_lines_read_back(rows: list[tuple[int, str, str, str]]) -> None:
    text = "".join(
        "\x1f".join((str(job), state, reason, "N/A", "", f"/runs/{name} x/code", name)) + "\n"
        for job, state, reason, name in rows
    )
    read = parse_squeue(text)
    assert [(job.id, job.state, job.work_dir) for job in read] == [
        (str(job), state, f"/runs/{name} x/code") for job, state, _, name in rows
    ]
    assert all(job.start is None and job.nodes is None for job in read)
    assert all(job.ended == (job.state in ENDED) for job in read)


def test_the_latest_start_of_a_requeued_job_counts() -> None:
    text = "7|NODE_FAIL|2026-01-01T00:00:00|n1|None\n7.batch|FAILED|x|n1|\n7|CANCELLED by 0|Unknown|n2|None\n"
    last = {job.id: job for job in parse_sacct(text)}["7"]
    assert (last.state, last.nodes, last.start, last.reason) == ("CANCELLED", "n2", None, None)


def test_one_squeue_call_for_all_and_sacct_for_what_it_forgot(slurm: FakeSlurm) -> None:
    lines = [
        ("1", "PENDING", "Priority", "2030-01-01T00:00:00", "", "/w", "a"),
        ("3", "RUNNING", "None", "", "n1", "/w", "b"),
    ]
    slurm.answer("squeue", 0, "".join("\x1f".join(line) + "\n" for line in lines))
    slurm.answer("sacct", 0, "2|COMPLETED|2026-01-01T00:00:00|n[1-2]|None\n9|FAILED||n1|\n")
    answer = look(["1", "2", "4"])
    assert answer.answered
    assert {job_id: job.state for job_id, job in answer.jobs.items()} == {"1": "PENDING", "2": "COMPLETED"}
    assert answer.jobs["1"].start == "2030-01-01T00:00:00"
    assert len(slurm.calls("squeue")) == 1
    (asked,) = slurm.calls("sacct")
    assert "--jobs=2,4" in asked
    assert {"--parsable2", "--noheader", "--duplicates"} <= set(asked)


def test_accounting_that_is_off_is_no_obstacle(slurm: FakeSlurm) -> None:
    slurm.answer("squeue", 0, "\x1f".join(("1", "RUNNING", "None", "N/A", "n1", "/w", "a")) + "\n")
    slurm.answer("sacct", 1, "Slurm accounting storage is disabled\n")
    answer = look(["1", "2"])
    assert answer.answered
    assert list(answer.jobs) == ["1"]


def test_nothing_asked_nothing_called(slurm: FakeSlurm) -> None:
    assert look([]).answered
    assert slurm.calls("squeue") == []


def test_a_slurm_that_does_not_answer(slurm: FakeSlurm) -> None:
    slurm.answer("squeue", 1, "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n")
    answer = look(["1"])
    assert not answer.answered
    assert "Unable to contact" in (answer.complaint or "")


def test_no_slurm_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert not look(["1"]).answered
    with pytest.raises(SiteError, match="cluster=local"):
        find(RunFolder("/runs/mine"), ())


def test_a_job_is_found_by_its_name_and_place_alone(slurm: FakeSlurm) -> None:
    folder = RunFolder("/runs/mine")
    rows = [
        ("1", "RUNNING", "mine", "/other/mine/code"),
        ("2", "CANCELLED", "mine", "/runs/mine/code"),
        ("3", "PENDING", "mine", "/runs/mine/code"),
        ("4", "PENDING", "mine", "/runs/mine/code"),
        ("5", "PENDING", "yours", "/runs/mine/code"),
    ]
    lines = ["\x1f".join((job, state, "None", "N/A", "", place, name)) + "\n" for job, state, name, place in rows]
    slurm.answer("squeue", 0, "".join(lines))
    assert find(folder, {"3"}) == "4"
    assert find(folder, {"3", "4"}) is None


def test_programs_have_a_time_limit_and_their_words_are_kept(tmp_path: Path) -> None:
    with pytest.raises(NoAnswer, match=r"within 0\.2 s"):
        call(["sleep", "20"], 0.2)
    with pytest.raises(NoAnswer, match="Socket timed out"):
        call(["sh", "-c", "echo 'Socket timed out on send/recv operation' >&2; exit 1"], 10)
    with pytest.raises(Refused, match="sh: no; really"):
        call(["sh", "-c", "echo no >&2; echo really >&2; exit 1"], 10)
    assert queue.TIMEOUT > 0
