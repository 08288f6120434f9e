"""Exit codes, signals and last words become the right cause."""

import json
from pathlib import Path

import pytest

from conf.folder import Cause
from trainer.ends import End, kills_for_memory, tail, verdict, worker_end

GLOO = "RuntimeError: [pair.cc:534] Connection closed by peer [10.0.0.2]:3344"


@pytest.mark.parametrize(
    ("code", "words", "exhausted", "cause"),
    [
        (1, "Traceback\nValueError: no", False, "worker_crash"),
        (-11, "", False, "worker_crash"),
        (-9, "step 4", False, "worker_killed"),
        (137, "step 4", False, "worker_killed"),
        (-15, "step 4", False, "worker_killed"),
        (-9, "step 4", True, "out_of_memory"),
        (1, "ValueError: no", True, "worker_crash"),
        (1, "OSError: [Errno 28] No space left on device", False, "disk_full"),
        (1, f"Traceback\n{GLOO}", False, "network"),
        (1, f"{GLOO}\na\nb\nc\nValueError: no", False, "worker_crash"),
    ],
)
def test_the_cause_of_a_workers_end(tmp_path: Path, code: int, words: str, exhausted: bool, cause: Cause) -> None:
    end = worker_end("n1", 3, code, tmp_path, words, exhausted)
    assert end.cause == cause
    assert "worker 3 on n1" in end.message and words in end.message


def test_what_the_worker_wrote_down_comes_first(tmp_path: Path) -> None:
    (tmp_path / "failure-3.json").write_text(
        json.dumps({"cause": "out_of_memory", "message": "batch.micro is too large"})
    )
    end = worker_end("n1", 3, 1, tmp_path, "noise", False)
    assert (end.cause, end.message) == ("out_of_memory", "batch.micro is too large")


def test_a_crash_that_was_written_down_has_the_log_too(tmp_path: Path) -> None:
    (tmp_path / "failure-0.json").write_text(json.dumps({"cause": "worker_crash", "message": "ValueError: no"}))
    end = worker_end("n1", 0, 1, tmp_path, "in line 3", False)
    assert end.message == "ValueError: no; worker 0 on n1 left with exit code 1; the log's last lines:\nin line 3"


@pytest.mark.parametrize("text", ["{", '{"cause": "bad luck", "message": "x"}', "{}"])
def test_a_note_that_makes_no_sense_is_passed_over(tmp_path: Path, text: str) -> None:
    (tmp_path / "failure-0.json").write_text(text)
    assert worker_end("n1", 0, -9, tmp_path, "", False).cause == "worker_killed"


def test_echoes_on_other_nodes_do_not_hide_the_cause() -> None:
    network, crash, memory = End("a", "network"), End("b", "worker_crash"), End("c", "out_of_memory")
    assert verdict([network, crash], "ab") is crash
    assert verdict([network, crash, memory], "abc") is memory
    assert verdict([End("a", "unknown"), crash], "ab") is crash
    assert verdict([End("b", "unknown"), network], "ab") is network
    assert verdict([End("a", "completed"), crash], "ab") is crash
    assert verdict([End("a", "completed"), End("b", "completed")], "ab").cause == "completed"


def test_a_limit_that_one_node_knows_of_is_no_preemption() -> None:
    limit = End("a", "time_limit", "SIGUSR2")
    assert verdict([End("b", "preempted"), limit], "ab") is limit


def test_of_two_crashes_the_first_counts() -> None:
    first, second = End("b", "worker_crash", "first"), End("a", "worker_crash", "second")
    assert verdict([first, second], "ab") is first


def test_a_node_that_has_said_nothing_is_the_culprit_of_lost_connections() -> None:
    end = verdict([End("a", "network", "hung up"), End("b", "unknown")], ("a", "b", "c"))
    assert (end.cause, end.node) == ("node_failure", "c")
    assert "no word from c" in end.message


def test_an_end_survives_the_way_to_another_node() -> None:
    end = End("n1", "worker_crash", "words", 1)
    assert End.load(json.loads(json.dumps(end.dump()))) == end
    assert End.load({"cause": "x"}).cause == "unknown"


def test_the_tail_is_short_and_readable(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"".join(b"line %d\n" % number for number in range(50)) + b"10%\r20%\r30%\r\nlast \xff\n\n")
    lines = tail(log).split("\n")
    assert len(lines) == 20
    assert lines[-2:] == ["30%", "last \ufffd"]
    assert tail(tmp_path / "missing") == ""


def test_the_tail_of_one_worker_is_without_the_others_complaints(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(f"start\n[rank1]: ValueError: boom\n[rank 0] 12:00:00 lost\n[rank0]: {GLOO}\n")
    assert tail(log, 1) == "start\nValueError: boom"
    assert tail(log, 0) == f"start\n12:00:00 lost\n{GLOO}"
    assert worker_end("n1", 1, 1, tmp_path, tail(log, 1), False).cause == "worker_crash"


def test_the_kernels_count_of_kills_is_read(tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text("9:name=systemd:/x\n0::/job_7/step_0\n")
    events = tmp_path / "job_7" / "step_0" / "memory.events"
    events.parent.mkdir(parents=True)
    events.write_text("low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\n")
    assert kills_for_memory(tmp_path / "cgroup", tmp_path) == 2
    events.unlink()
    assert kills_for_memory(tmp_path / "cgroup", tmp_path) == 0
    (tmp_path / "cgroup").write_text("4:memory:/job_7\n")
    (tmp_path / "memory" / "job_7").mkdir(parents=True)
    (tmp_path / "memory" / "job_7" / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    assert kills_for_memory(tmp_path / "cgroup", tmp_path) == 1
