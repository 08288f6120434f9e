"""The cluster's network: a bridge in the head, one cable to each node and one to the login node (the real machine).

All of it but the login node's end of its cable lives in the head's network namespace and goes with it. Nobody but the
login node has a way out: the head and the nodes have no default route and no name server in reach.
"""

import ipaddress
import json
import zlib

from .commands import ClusterError, run
from .layout import Layout
from .lock import lock
from .machine import Machine

# Private addresses first; then the range set aside for tests between networks (RFC 2544).
POOLS = ("10.213", "198.18")


def claim(layout: Layout, head: Machine) -> str:
    """Plug the login node into the head under a /24 network that no route here touches; returns its first numbers."""
    with lock("subnet"):
        subnet = _free_subnet(layout.suffix)
        _ip(
            f"link add {layout.link} type veth peer name login netns {head.pid}",
            f"address add {subnet}.254/24 dev {layout.link}",
            f"link set {layout.link} up",
        )
    return subnet


def build_bridge(layout: Layout, head: Machine) -> None:
    """Make the switch to which all machines are plugged."""
    commands = [
        "link set lo up",
        "link add br0 type bridge",
        f"address add {layout.address('head')}/24 dev br0",
        "link set login master br0 up",
        "link set br0 up",
    ]
    head.enter(["ip", "-batch", "-"], kinds=["--net"], text=_batch(*commands))


def plug_in(layout: Layout, head: Machine, node: Machine) -> None:
    """Connect a node that was just switched on."""
    unplug(head, node)
    # A machine keeps its hardware address when it is switched off and on: others remember it for a while.
    hardware = "02:00:" + ipaddress.ip_address(layout.address(node.name)).packed.hex(":")
    cable = f"link add {node.name} master br0 up type veth peer name eth0 address {hardware} netns {node.pid}"
    head.enter(["ip", "-batch", "-"], kinds=["--net"], text=_batch(cable))
    commands = [f"address add {layout.address(node.name)}/24 dev eth0", "link set lo up", "link set eth0 up"]
    node.enter(["ip", "-batch", "-"], text=_batch(*commands))


def unplug(head: Machine, node: Machine) -> None:
    """Take a node's cable away; it may be gone already, or still there because its owner died a moment ago."""
    head.enter(["ip", "link", "delete", node.name], kinds=["--net"], check=False)


def set_link(head: Machine, node: str, state: str) -> None:
    """Switch the head's end of a node's cable `up` or `down`."""
    head.enter(["ip", "link", "set", node, state], kinds=["--net"])


def remove_link(layout: Layout) -> None:
    """Remove the cable of the login node, if it is there."""
    run(["ip", "link", "delete", layout.link], timeout=10, check=False)


def _free_subnet(suffix: str) -> str:
    shown = run(["ip", "-json", "-4", "route", "show", "table", "all"], timeout=10).stdout
    routes = [route["dst"] for route in json.loads(shown or "[]") if route["dst"] != "default"]
    used = [ipaddress.ip_network(route) for route in routes]
    start = zlib.crc32(suffix.encode())
    for pool in POOLS:
        for step in range(256):
            subnet = f"{pool}.{(start + step) % 256}"
            if not any(ipaddress.ip_network(f"{subnet}.0/24").overlaps(network) for network in used):
                return subnet
    raise ClusterError(f"no free /24 network in {' or '.join(f'{pool}.0.0/16' for pool in POOLS)}")


def _batch(*commands: str) -> str:
    return "".join(f"{command}\n" for command in commands)


def _ip(*commands: str) -> None:
    run(["ip", "-batch", "-"], timeout=10, text=_batch(*commands))
