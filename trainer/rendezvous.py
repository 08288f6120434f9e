"""Where the agents of one attempt meet: an id, a port on the head node, and a note in the run folder that tells it.

The head binds the port before anybody hears of it and keeps the socket, so no other job can take it in between; two
jobs with the same head node simply get two ports.
"""

import errno
import hashlib
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from conf.folder import read_json, write_json
from trainer.ends import Ended
from trainer.job import Job

NOTE = "rendezvous.json"
"""Name of the note in the attempt's folder."""
TRIES = 128
"""Ports tried before giving up."""
LOWEST = 10_240
"""Below it lie services; above it, up to the ephemeral range, little."""


@dataclass(frozen=True)
class Meeting:
    """A place to meet."""

    id: str
    """The same on all nodes, new at each attempt."""
    host: str
    """Name or address of the head node, as other nodes resolve it."""
    port: int
    """TCP port there."""


def meeting_id(run_id: str, job: Job, attempt: int) -> str:
    """Id of one attempt's meeting."""
    return f"{run_id}/{job.job_id or 'local'}/{job.restart_count}/{attempt}"


def ephemeral_low(file: Path = Path("/proc/sys/net/ipv4/ip_local_port_range")) -> int:
    """First port that the kernel gives to outgoing connections; 32768, Linux's default, where it does not say."""
    try:
        return int(file.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32_768


def ports(identity: str, low: int) -> list[int]:
    """The ports to try for a meeting, in order: a row below `low` that starts where the id's digest says.

    Where the ephemeral range begins too low to leave room, the whole upper range serves."""
    span = (
        range(LOWEST, low)
        if low >= LOWEST + TRIES
        else range(1024, low)
        if low >= 1024 + TRIES
        else range(LOWEST, 65_536)
    )
    start = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8]) % len(span)
    return [span[(start + step) % len(span)] for step in range(TRIES)]


def listen(candidates: list[int], alone: bool) -> socket.socket:
    """A listening socket at the first free port: on the loopback for a job of one node, else on all addresses.

    All, because a machine's own name often resolves to its loopback. Raises Ended where every port is taken."""
    families = [socket.AF_INET] if alone or not socket.has_dualstack_ipv6() else [socket.AF_INET6, socket.AF_INET]
    for port in candidates:
        for family in families:
            try:
                return _bound(port, family, "127.0.0.1" if alone else "")
            except OSError as error:
                if error.errno in (errno.EADDRINUSE, errno.EACCES):
                    break
    raise Ended("launch_failed", f"no free port on {socket.gethostname()} among {candidates[0]} to {candidates[-1]}")


def publish(attempt: Path, meeting: Meeting) -> None:
    """Leave the note for the other nodes."""
    write_json(attempt / NOTE, {"id": meeting.id, "host": meeting.host, "port": meeting.port})


def find(attempt: Path, identity: str, timeout: float, look_up: Callable[[], None]) -> Meeting:
    """Wait for the head's note, at most `timeout` seconds. A note with another id is somebody else's and is not used.

    `look_up` is called between looks and may raise to end the wait. Raises Ended when no note comes."""
    deadline = time.monotonic() + timeout
    while True:
        look_up()
        try:
            # Listing the folder makes a network file system ask its server; opening a name that was missing may not.
            note = read_json(attempt / NOTE) if NOTE in os.listdir(attempt) else {}
        except (OSError, ValueError):
            note = {}
        if note.get("id") == identity:
            return Meeting(identity, str(note["host"]), int(note["port"]))
        if time.monotonic() > deadline:
            raise Ended("launch_failed", f"the head node left no word in {attempt / NOTE} within {timeout:.0f} s")
        time.sleep(0.2)


def head_address(job: Job) -> str:
    """How other nodes reach the head: Slurm's name of it where it resolves, else the machine's own name."""
    if len(job.nodes) == 1:
        return "127.0.0.1"
    try:
        socket.getaddrinfo(job.head, None)
        return job.head
    except OSError:
        return socket.getfqdn()


def _bound(port: int, family: socket.AddressFamily, host: str) -> socket.socket:
    server = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # No SO_REUSEADDR: it would let two sockets bind the same port as long as neither listens.
        server.bind((host, port))
        server.listen(4096)
        return server
    except OSError:
        server.close()
        raise
