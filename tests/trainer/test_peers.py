"""What agents tell one another, through a real store."""

import pytest

from tests.trainer.agents import until
from trainer import rendezvous
from trainer.ends import End, Ended
from trainer.job import Job
from trainer.peers import Peers, host, join

pytestmark = pytest.mark.train
NODES = ("a", "b")


def nothing() -> None:
    """Nothing happens meanwhile."""


def meeting(identity: str) -> tuple[rendezvous.Meeting, Peers]:
    """A head that waits for others."""
    server = rendezvous.listen(rendezvous.ports(identity, rendezvous.ephemeral_low()), alone=False)
    place = rendezvous.Meeting(identity, "127.0.0.1", server.getsockname()[1])
    return place, Peers(Job(NODES, 0), host(server, place))


def test_arrival_start_and_ends_are_told() -> None:
    place, head = meeting("told")
    assert head.missing == ["a", "b"] or head.missing == ["b"]
    other = Peers(Job(NODES, 1), join(place, nothing))
    until(lambda: not head.missing, "both have arrived")
    assert not other.started
    head.start()
    until(lambda: other.started, "the other may start")
    other.report(End("b", "completed"))
    until(lambda: head.ends == [End("b", "completed")], "the head knows")
    assert not other.over
    head.report(End("a", "worker_crash", "boom", 1))
    until(lambda: other.over, "the other knows that it is over")
    assert End("a", "worker_crash", "boom", 1) in other.ends
    assert other.trouble is None
    other.close(5)
    head.close(5)


def test_another_jobs_store_is_not_joined() -> None:
    place, head = meeting("mine")
    with pytest.raises(Ended, match="belongs to another job: mine"):
        join(rendezvous.Meeting("yours", place.host, place.port), nothing)
    head.close(5)


def test_a_head_that_cannot_be_reached_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.peers.CONNECT", 0.0)
    with rendezvous.listen(rendezvous.ports("gone", rendezvous.ephemeral_low()), alone=True) as server:
        port = server.getsockname()[1]
    with pytest.raises(Ended, match="cannot reach the head node") as caught:
        join(rendezvous.Meeting("gone", "127.0.0.1", port), nothing)
    assert caught.value.cause == "network"
