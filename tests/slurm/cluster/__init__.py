"""A private, real Slurm cluster on one machine, for the tests and for trying things out.

Head, database and nodes are sets of Linux namespaces inside one pid namespace, so the death of one process (the head's
init) ends all daemons, jobs, mounts, network links and addresses at once. Only the data folder outlives it.
"""

from .cluster import Cluster
from .commands import ClusterError
from .node import Node

__all__ = ["Cluster", "ClusterError", "Node"]
