"""Command line of the private cluster: up, down, env."""

import argparse
import sys
from pathlib import Path

from .cluster import Cluster
from .commands import ClusterError
from .layout import NODES
from .lock import lock
from .teardown import find, tear_down


def main() -> int:
    """Run one verb; 1 with a sentence on stderr when it fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.slurm.cluster", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser("up", help="boot a cluster and print how to use it")
    down = verbs.add_parser("down", help="remove every trace of a cluster")
    env = verbs.add_parser("env", help="print the export lines for a running cluster")
    for verb in (up, down, env):
        verb.add_argument("--suffix", default="try", help="which cluster, one to six of a-z and 0-9 (default: try)")
    for verb in (up, down):
        verb.add_argument("--dir", type=Path, help="its data folder (default: /tmp/slurmwright-SUFFIX)")
    up.add_argument("--owner", type=int, metavar="PID", help="end the cluster with this process, not only by down")
    up.add_argument("--proctrack", choices=["linuxproc", "pgid"], default="linuxproc")
    up.add_argument("--no-dbd", action="store_true", help="without slurmdbd: no sacct, no accounts")
    arguments = parser.parse_args()
    try:
        if arguments.verb == "up":
            show(boot(arguments))
        elif arguments.verb == "env":
            show(Cluster.attach(arguments.suffix))
        else:
            take_down(arguments.suffix, arguments.dir)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def boot(arguments: argparse.Namespace) -> Cluster:
    """Boot what the command line asks for."""
    cluster = Cluster.boot(
        arguments.suffix,
        owner=arguments.owner,
        folder=arguments.dir,
        proctrack=arguments.proctrack,
        accounting=not arguments.no_dbd,
    )
    print(f"# Slurm is up: nodes {' '.join(NODES)}, partitions low and high, logs in {cluster.layout.folder}/log")
    print("# To use it from a shell:")
    return cluster


def show(cluster: Cluster) -> None:
    """Print the export lines."""
    for name, value in cluster.env.items():
        print(f"export {name}={value}")


def take_down(suffix: str, folder: Path | None) -> None:
    """Remove the cluster, or say that there is none."""
    with lock(suffix):
        layout = find(suffix, folder)
        if layout is None:
            print(f"no cluster {suffix!r}")
        else:
            tear_down(layout)


if __name__ == "__main__":
    sys.exit(main())
