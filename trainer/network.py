"""Which network interface leads to another node, so that collectives do not pick the loopback or a management net."""

import fcntl
import socket
import struct
from pathlib import Path

_GET_ADDRESS = 0x8915
"""SIOCGIFADDR of netdevice(7)."""


def interface_towards(host: str) -> str | None:
    """Name of the interface that packets to `host` leave by; None where it cannot be told. Sends nothing.

    Raises socket.gaierror when the name does not resolve."""
    for family, _, _, _, address in socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                # Connecting a datagram socket only asks the routing table.
                probe.connect(address)
                own = str(probe.getsockname()[0])
        except OSError:
            continue
        name = _holder4(own) if family == socket.AF_INET else _holder6(own)
        if name is not None:
            return name
    return None


def _holder4(address: str) -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for _, name in socket.if_nameindex():
            try:
                reply = fcntl.ioctl(control.fileno(), _GET_ADDRESS, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue
            if socket.inet_ntoa(reply[20:24]) == address:
                return name
    return None


def _holder6(address: str) -> str | None:
    try:
        table = Path("/proc/net/if_inet6").read_text()
        wanted = socket.inet_pton(socket.AF_INET6, address.partition("%")[0]).hex()
    except OSError:
        return None
    for line in table.splitlines():
        fields = line.split()
        if fields[0] == wanted:
            return fields[-1]
    return None
