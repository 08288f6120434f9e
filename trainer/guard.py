"""A guard over an offline job: Python code that looks up a name or connects outside of its nodes is told and refused.

An audit hook of the interpreter. The agent describes what is allowed in a variable; every Python that it or a worker
starts takes it from there before any other import (startup/sitecustomize.py), and forked children have the hook
already. Native code does not pass by here: that nothing leaves a node is for the node's own counters to prove.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

VARIABLE = "SLURMWRIGHT_GUARD"
"""JSON: {"mode": "refuse" or "warn", "hosts": [names, addresses], "run": folder, "attempt": number, "node": name}."""
MOST_TOLD = 20
"""Different attempts that one process tells; all are refused."""
_LOOKUPS = ("socket.getaddrinfo", "socket.gethostbyname")
_SENDS = ("socket.connect", "socket.sendto", "socket.sendmsg")
_REVERSE = ("socket.gethostbyaddr", "socket.getnameinfo")
_LOCAL = ("", "localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")


class NetworkRefused(ConnectionRefusedError):
    """An offline run reached for something outside its nodes. Libraries take it for a network that is down."""


class Guard:
    """What is allowed, and what is told of the rest."""

    def __init__(self, described: Mapping[str, Any]) -> None:
        self.mode: str = described["mode"]
        self.hosts = frozenset(host.lower() for host in described["hosts"])
        self._described = described
        self._told: set[tuple[str, str]] = set()

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """The audit hook. Raises NetworkRefused for what is not allowed, unless it is only to be told."""
        if not event.startswith("socket."):
            return
        target = _target(event, arguments)
        if target is None or self._allowed(target[0]):
            return
        self._tell(event, *target)
        if self.mode == "refuse":
            raise NetworkRefused(
                f"offline=true: {event.partition('.')[2]} to {target[0]} was refused (site.guard=refuse): it is none "
                "of the job's nodes"
            )

    def _allowed(self, host: str) -> bool:
        if host.lower().rstrip(".") in self.hosts or host.lower() in _LOCAL:
            return True
        from ipaddress import ip_address

        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return address.is_loopback or address.is_unspecified or str(address) in self.hosts

    def _tell(self, event: str, host: str, port: Any) -> None:
        """Once for each caller and host: the stack into the log, a line into the run's events."""
        import traceback

        stack = traceback.extract_stack(sys._getframe(2))
        who = _who([frame.filename for frame in stack])
        if (host, who) in self._told or len(self._told) >= MOST_TOLD:
            return
        self._told.add((host, who))
        verb = "refused" if self.mode == "refuse" else "let through"
        text = f"offline=true, yet {who} reached for {host} port {port} ({event}): {verb}. The stack:\n"
        # One write: lines of other workers do not come between.
        os.write(2, (text + "".join(traceback.format_list(stack))).encode(errors="replace"))
        self._record(host, port, who, verb)

    def _record(self, host: str, port: Any, who: str, verb: str) -> None:
        from conf.folder import RunFolder

        described = self._described
        more = {"host": host, "port": port, "who": who, "node": described["node"], "refused": verb == "refused"}
        try:
            RunFolder(described["run"]).append_event("network_attempt", described["attempt"], None, **more)
        except OSError as error:
            os.write(2, f"the run's events cannot be written: {error}\n".encode())


def install(described: Mapping[str, Any]) -> None:
    """Guard this process from now on; a hook cannot be taken away again."""
    sys.addaudithook(Guard(described).hook)


def install_from(environ: Mapping[str, str]) -> None:
    """Guard this process where the agent that started it has said so."""
    if text := environ.get(VARIABLE):
        import json

        install(json.loads(text))


def allowed_hosts(nodes: Iterable[str]) -> list[str]:
    """Names and addresses of a job's nodes, this machine's own among them. Asks the site's name service for what does
    not stand in the hosts file, once a node; a name that cannot be resolved is allowed as a name alone."""
    import socket

    found: set[str] = set()
    for name in {*nodes, socket.gethostname()}:
        found.add(name)
        try:
            answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
        except OSError:
            continue
        found |= {str(answer[4][0]).partition("%")[0] for answer in answers}
        found |= {answer[3] for answer in answers if answer[3]}
    return sorted(found)


def _target(event: str, arguments: tuple[Any, ...]) -> tuple[str, Any] | None:
    """Host and port that an event is about; None where it is about none, as with sockets of this machine alone."""
    if event in _LOOKUPS:
        host = arguments[0]
        port = arguments[1] if len(arguments) > 1 else None
    elif event in _SENDS:
        address = arguments[1]
        if not isinstance(address, tuple) or len(address) < 2 or not isinstance(address[0], str | bytes):
            return None  # a Unix socket, netlink, or a socket that is connected
        host, port = address[0], address[1]
    elif event in _REVERSE:
        host, port = (arguments[0], None) if isinstance(arguments[0], str) else arguments[0][:2]
    else:
        return None
    if isinstance(host, bytes | bytearray):
        host = host.decode("ascii", "replace")
    return None if host is None else (str(host), port if isinstance(port, int | str) else None)


def _who(files: Iterable[str]) -> str:
    """The packages on the stack from the outermost in, the standard library left out: `trainer > trl > requests`."""
    library = os.path.dirname(os.__file__)
    chain: list[str] = []
    for file in files:
        path, packages = os.path.realpath(file), os.path.join("site-packages", "")
        if packages in path:
            name = path.partition(packages)[2].partition(os.sep)[0].removesuffix(".py")
        elif file.startswith("<") or path.startswith(library):
            continue
        else:
            rooms = [part for part in path.split(os.sep) if part == "trainer"]
            name = rooms[-1] if rooms else os.path.basename(path)
        if not chain or chain[-1] != name:
            chain.append(name)
    return " > ".join(chain) or "python"
