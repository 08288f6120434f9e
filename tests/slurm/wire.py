"""What really leaves a node: rules of its own kernel that count packets by where they go.

No program on the node, native code and children included, gets past them. For the time of the count the node has a
default route to the head, which carries nothing on: so that what tries to get out becomes a packet and is counted,
where without a route it would fail before there is one.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.slurm.cluster import Cluster

TABLE = "slurmwright_wire"


class Wire:
    """The counters of some nodes."""

    def __init__(self, cluster: Cluster, nodes: Sequence[str]) -> None:
        self.cluster = cluster
        self.nodes = nodes

    def outside(self, node: str) -> int:
        """Packets so far that were addressed to anything but the cluster's nodes, its head and the node itself."""
        return self._counter(node, "outside")

    def places(self, node: str) -> list[str]:
        """Where the packets to the outside were addressed: `address protocol port`."""
        shown = self.cluster.node(node).run(["nft", "--json", "list", "set", "inet", TABLE, "places"]).stdout
        found = next(one["set"] for one in json.loads(shown)["nftables"] if "set" in one)
        return [" ".join(map(str, element["concat"])) for element in found.get("elem", [])]

    def inside(self, node: str) -> int:
        """Packets so far to the other nodes and the head: that the counters count."""
        return self._counter(node, "inside")

    def _counter(self, node: str, name: str) -> int:
        shown = self.cluster.node(node).run(["nft", "--json", "list", "counter", "inet", TABLE, name]).stdout
        packets: int = next(one["counter"]["packets"] for one in json.loads(shown)["nftables"] if "counter" in one)
        return packets


@contextmanager
def counting(cluster: Cluster, nodes: Sequence[str]) -> Iterator[Wire]:
    """Count what these nodes send, for as long as the block lasts."""
    known = ", ".join([cluster.layout.address("head"), *(node.address for node in cluster.nodes)])
    # The kernel itself speaks ICMPv6 to its neighbours when a cable is plugged in.
    rules = f"""
        add table inet {TABLE}
        add counter inet {TABLE} inside
        add counter inet {TABLE} outside
        add set inet {TABLE} places {{ type ipv4_addr . inet_proto . inet_service; flags dynamic; size 4096; }}
        add chain inet {TABLE} sent {{ type filter hook output priority 0; }}
        add rule inet {TABLE} sent oifname "lo" accept
        add rule inet {TABLE} sent ip daddr {{ {known} }} counter name inside accept
        add rule inet {TABLE} sent meta l4proto ipv6-icmp accept
        add rule inet {TABLE} sent counter name outside
        add rule inet {TABLE} sent meta l4proto {{ tcp, udp }} update @places {{ ip daddr . meta l4proto . th dport }}
    """
    try:
        for name in nodes:
            node = cluster.node(name)
            node.run(["nft", rules])
            node.run(["ip", "route", "add", "default", "via", cluster.layout.address("head")])
        yield Wire(cluster, nodes)
    finally:
        for name in nodes:
            node = cluster.node(name)
            node.run(["nft", "delete", "table", "inet", TABLE], check=False)
            node.run(["ip", "route", "delete", "default"], check=False)
