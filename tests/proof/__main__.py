"""`make proof [CELLS=pairs]`: run the cells that have no result yet for the present code, and write docs/proof.md."""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.proof.cells import asked
from tests.proof.matrix import prove
from tests.proof.measured import Cache, cache_folder
from tests.proof.page import DOCUMENT, page
from tests.slurm.cluster import Cluster
from tests.slurm.conftest import suffix, why_not


def main() -> int:
    """The command. 0 when every cell is proven, 1 when one is not, 2 for bad usage, 3 where no cluster can be had."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument(
        "--cells",
        default="pairs",
        help="pairs (default: all of one rank, a covering array of more), all, sample, names",
    )
    parser.add_argument("--fresh", action="store_true", help="forget the results that are there")
    arguments = parser.parse_args()
    try:
        cells = asked(arguments.cells)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if (reason := why_not()) is not None:
        print(f"no private Slurm cluster here: {reason}", file=sys.stderr)
        return 3
    place = cache_folder()
    if arguments.fresh:
        shutil.rmtree(place, ignore_errors=True)
    home = Path(tempfile.mkdtemp(prefix="slurmwright-proof-"))
    cluster = Cluster.boot(suffix(os.getpid()), owner=os.getpid())
    try:
        outcome = prove(cells, cluster, home, Cache(place))
        slurm = cluster.run(["scontrol", "--version"]).stdout.split()[-1]
    finally:
        cluster.down()
    if arguments.cells in ("pairs", "all"):
        DOCUMENT.write_text(page(outcome, arguments.cells, slurm), encoding="utf-8")
    print(f"{len(outcome.found)} of {len(cells)} cells proven; results in {place}")
    if outcome.wrong:
        print(f"NOT proven: {', '.join(outcome.wrong)}; run folders in {home}")
        return 1
    shutil.rmtree(home, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
