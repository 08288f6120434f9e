"""What the agents of one attempt tell one another: I am here, you may start, I am done, it is over.

They talk through torch's TCPStore on the head node, the same that the workers meet in. A thread of each agent looks
there, since a call into the store cannot be interrupted when the network is gone: the agent itself never waits in one.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from trainer.ends import End, Ended
from trainer.job import Job
from trainer.rendezvous import Meeting

if TYPE_CHECKING:
    from torch._C._distributed_c10d import TCPStore

LOOK = 0.25
"""Seconds between two looks."""
SILENCE = 30.0
"""Seconds without an answer from the head, or without a sign of life from another node, after which it counts as
gone."""
CONNECT = 60.0
"""Seconds within which a published meeting place must be reachable."""


class Peers:
    """One agent's end of the talk. All of its public methods return at once, except `close`."""

    def __init__(self, job: Job, store: "TCPStore") -> None:
        self._job = job
        self._store = store
        self._lock = threading.Lock()
        self._outbox: list[tuple[str, str]] = [(f"here/{job.rank}", job.node)]
        self._started = False
        self._over = False
        self._missing = list(range(len(job.nodes)))
        self._ends: dict[int, End] = {}
        self._beat = 0
        self._signs: dict[int, tuple[bytes, float]] = {}
        self._lost: str | None = None
        self._heard = time.monotonic()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._talk, name="peers", daemon=True)
        self._thread.start()

    @property
    def missing(self) -> list[str]:
        """On the head: nodes that have not arrived yet."""
        with self._lock:
            return [self._job.nodes[rank] for rank in self._missing]

    @property
    def started(self) -> bool:
        """Whether the head has said that workers may start."""
        return self._started

    @property
    def over(self) -> bool:
        """On another node: whether the attempt is over; `ends` then tells how."""
        return self._over

    @property
    def ends(self) -> list[End]:
        """The ends heard of so far, in the order in which they came."""
        with self._lock:
            return list(self._ends.values())

    @property
    def silent(self) -> list[str]:
        """On the head: nodes that had arrived, have not said how they ended, and give no sign of life any more."""
        present = time.monotonic()
        return [
            self._job.nodes[rank]
            for rank, (_, heard) in sorted(self._signs.items())
            if rank not in self._ends and present - heard > SILENCE
        ]

    @property
    def trouble(self) -> str | None:
        """Why the head can no longer be heard, None while it can."""
        if self._lost is None and time.monotonic() - self._heard > SILENCE:
            return f"the head node {self._job.head} has not answered for {SILENCE:.0f} s"
        return self._lost

    def start(self) -> None:
        """On the head: tell everyone to start workers."""
        self._send("start", "1")

    def report(self, end: End) -> None:
        """Tell how this node has ended."""
        self._send(f"end/{self._job.rank}", json.dumps(end.dump()))
        if end.cause != "completed":
            self.finish()

    def finish(self) -> None:
        """Tell everyone that the attempt is over."""
        self._send("over", "1")

    def close(self, seconds: float) -> None:
        """Say what is still to be said, then fall silent; waits at most `seconds`."""
        self._closing.set()
        self._thread.join(seconds)

    def _send(self, key: str, value: str) -> None:
        with self._lock:
            self._outbox.append((key, value))

    def _talk(self) -> None:
        try:
            while True:
                closing = self._closing.is_set()
                self._speak()
                self._listen()
                self._heard = time.monotonic()
                if closing:
                    return
                self._closing.wait(LOOK)
        except RuntimeError as error:
            # torch's network errors are RuntimeErrors.
            self._lost = f"the head node {self._job.head} can no longer be reached: {str(error).splitlines()[0]}"

    def _speak(self) -> None:
        with self._lock:
            letters, self._outbox = self._outbox, []
        for key, value in letters:
            self._store.set(key, value)
        if not self._job.is_head:
            self._beat += 1
            self._store.set(f"alive/{self._job.rank}", str(self._beat))

    def _listen(self) -> None:
        if self._job.is_head:
            arrived = [rank for rank in self._missing if self._store.check([f"here/{rank}"])]
            with self._lock:
                self._missing = [rank for rank in self._missing if rank not in arrived]
            self._take_signs()
        self._started = self._started or self._store.check(["start"])
        over = self._store.check(["over"])
        if not over and not self._job.is_head:
            return
        for rank in range(len(self._job.nodes)):
            if rank not in self._ends and self._store.check([f"end/{rank}"]):
                end = End.load(json.loads(self._store.get(f"end/{rank}")))
                with self._lock:
                    self._ends[rank] = end
        self._over = over

    def _take_signs(self) -> None:
        for rank in range(1, len(self._job.nodes)):
            if not self._store.check([f"alive/{rank}"]):
                continue
            sign = self._store.get(f"alive/{rank}")
            if self._signs.get(rank, (b"", 0.0))[0] != sign:
                self._signs[rank] = (sign, time.monotonic())


def host(server: socket.socket, meeting: Meeting) -> "TCPStore":
    """On the head: the store, on a socket that already listens and is taken over."""
    store = _tcp_store()(
        "127.0.0.1", meeting.port, None, True, timedelta(seconds=30), wait_for_workers=False,
        master_listen_fd=server.detach(), use_libuv=True,
    )  # fmt: skip
    store.set("meeting", meeting.id)
    return store


def join(meeting: Meeting, look_up: Callable[[], None]) -> "TCPStore":
    """On another node: the head's store.

    Raises Ended (network) where it cannot be reached, (launch_failed) where it belongs to another job."""
    store_type = _tcp_store()
    deadline = time.monotonic() + CONNECT
    while True:
        look_up()
        try:
            # torch's own attempts are long and loud, so it tries only what answers.
            socket.create_connection((meeting.host, meeting.port), timeout=3).close()
            store = store_type(meeting.host, meeting.port, None, False, timedelta(seconds=5), wait_for_workers=False)
            found = store.get("meeting").decode()
            break
        except (OSError, RuntimeError) as error:
            if time.monotonic() > deadline:
                place = f"{meeting.host} port {meeting.port}"
                why = str(error).partition("\n")[0]
                raise Ended("network", f"{socket.gethostname()} cannot reach the head node, {place}: {why}") from None
            time.sleep(0.3)
    store.set_timeout(timedelta(seconds=30))
    if found != meeting.id:
        raise Ended("launch_failed", f"{meeting.host} port {meeting.port} belongs to another job: {found}")
    return store


def _tcp_store() -> "type[TCPStore]":
    loud = "TORCH_CPP_LOG_LEVEL" not in os.environ
    if loud:
        # A connection that ends is news to the store, with a stack trace, and everyday life to us.
        os.environ["TORCH_CPP_LOG_LEVEL"] = "ERROR"
    try:
        from torch.distributed import TCPStore  # type: ignore[attr-defined]
    finally:
        if loud:
            del os.environ["TORCH_CPP_LOG_LEVEL"]
    store: type[TCPStore] = TCPStore
    return store
