"""Agents of one attempt meet at one place, and those of two attempts never do."""

import json
import socket
from pathlib import Path

import pytest

from trainer.ends import Ended
from trainer.job import Job
from trainer.rendezvous import Meeting, ephemeral_low, find, listen, meeting_id, ports, publish


def nothing() -> None:
    """Nothing happens meanwhile."""


def test_all_nodes_of_an_attempt_have_one_id() -> None:
    nodes = ("a", "b")
    ids = {meeting_id("run", Job(nodes, rank, "7", 1), 2) for rank in (0, 1)}
    assert len(ids) == 1


def test_every_start_of_every_job_has_its_own_id_and_ports() -> None:
    starts = [
        ("7", 0, 1),
        ("7", 1, 1),
        ("7", 0, 2),
        ("8", 0, 1),
        ("7_1", 0, 1),
        ("7_2", 0, 1),
        (None, 0, 1),
        (None, 0, 2),
    ]
    ids = [meeting_id("run", Job(("a",), 0, job, count), attempt) for job, count, attempt in starts]
    assert len(set(ids)) == len(ids)
    assert meeting_id("other", Job(("a",), 0, None), 1) not in ids
    assert len({ports(identity, 32768)[0] for identity in ids}) == len(ids)


@pytest.mark.parametrize("low", [32768, 20000, 10500, 2000])
def test_ports_lie_below_the_ephemeral_range(low: int) -> None:
    for identity in ("a", "b", "run/7/0/1"):
        row = ports(identity, low)
        assert len(set(row)) == len(row) == 128
        assert all(1024 <= port < low for port in row)
        assert row == ports(identity, low)


def test_where_all_ports_are_ephemeral_some_are_taken_all_the_same() -> None:
    assert all(10240 <= port < 65536 for port in ports("a", 1024))


def test_the_kernel_says_where_the_ephemeral_range_begins(tmp_path: Path) -> None:
    (tmp_path / "range").write_text("9000\t65535\n")
    assert ephemeral_low(tmp_path / "range") == 9000
    assert ephemeral_low(tmp_path / "missing") == 32768


@pytest.mark.parametrize("alone", [True, False])
def test_a_port_that_is_taken_is_skipped(alone: bool) -> None:
    row = ports("taken", ephemeral_low())
    with listen(row, alone) as first, listen(row, alone) as second:
        mine, theirs = first.getsockname()[1], second.getsockname()[1]
        assert mine != theirs
        assert {mine, theirs} <= set(row)


def test_no_port_at_all_is_an_end() -> None:
    with listen(ports("full", ephemeral_low()), False) as held, pytest.raises(Ended, match="no free port"):
        listen([held.getsockname()[1]], False)


def test_one_node_listens_to_itself_alone() -> None:
    with listen(ports("alone", ephemeral_low()), True) as server:
        assert server.getsockname()[0] == "127.0.0.1"


def test_a_note_is_found_by_its_id_alone(tmp_path: Path) -> None:
    publish(tmp_path, Meeting("new", "a", 12000))
    assert find(tmp_path, "new", 5, nothing) == Meeting("new", "a", 12000)
    with pytest.raises(Ended, match="left no word"):
        find(tmp_path, "old", 0, nothing)


def test_waiting_for_a_note_ends_when_there_is_news(tmp_path: Path) -> None:
    def news() -> None:
        raise Ended("preempted", "SIGTERM")

    with pytest.raises(Ended, match="SIGTERM"):
        find(tmp_path, "never", 1000, news)


def test_half_a_note_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "rendezvous.json").write_text(json.dumps({"id": "x", "host": "a"})[:-4])
    with pytest.raises(Ended, match="left no word"):
        find(tmp_path, "x", 0, nothing)


def test_the_socket_is_ready_before_anybody_hears_of_it() -> None:
    with listen(ports("ready", ephemeral_low()), False) as server:
        socket.create_connection(("127.0.0.1", server.getsockname()[1]), timeout=5).close()
