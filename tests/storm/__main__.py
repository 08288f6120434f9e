"""`make storm FAULTS=50 SEED=7`: the storm, its comparison with a plain script, and docs/storm.md."""

import argparse
import os
import shutil
import sys
from pathlib import Path

from tests.faults.watch import Missed
from tests.proof.measured import code_digest
from tests.slurm.cluster import Cluster, ClusterError
from tests.slurm.conftest import suffix, why_not
from tests.storm.disk import Disk
from tests.storm.judge import broken
from tests.storm.page import DOCUMENT, page
from tests.storm.schedule import schedule
from tests.storm.side_by_side import compare
from tests.storm.storm import Storm


def main() -> int:
    """The command. 0 when every promise was kept, 1 when one is broken, 3 where no cluster can be had."""
    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    parser.add_argument("--faults", type=int, default=50, help="how many faults (default: 50)")
    parser.add_argument("--seed", type=int, default=7, help="of the schedule (default: 7)")
    parser.add_argument("--fresh", action="store_true", help="begin anew where one was interrupted")
    parser.add_argument("--no-comparison", action="store_true", help="without the plain script beside it")
    arguments = parser.parse_args()
    if (reason := why_not()) is not None:
        print(f"no private Slurm cluster here: {reason}", file=sys.stderr)
        return 3
    work = work_folder(arguments.faults, arguments.seed)
    disk = Disk(work / "disk")
    # With its file system the run itself is gone.
    if arguments.fresh or not disk.mounted:
        disk.unmount()
        shutil.rmtree(work, ignore_errors=True)
    disk.mount()
    faults = schedule(arguments.faults, arguments.seed)
    cluster = Cluster.boot(suffix(os.getpid()), owner=os.getpid())
    try:
        storm = Storm(cluster, work, disk, faults)
        storm.run()
        if not arguments.no_comparison:
            compare(storm)
        problems = broken(storm)
        text = page(storm, arguments.seed, problems)
    except (Missed, AssertionError, ClusterError) as error:
        print(f"BROKEN: {error}\nwhat is there is kept in {work}; the same command goes on from it", file=sys.stderr)
        return 1
    finally:
        cluster.down()
    print(text)
    for problem in problems:
        print(f"BROKEN: {problem}", file=sys.stderr)
    if not arguments.no_comparison:
        DOCUMENT.write_text(text, encoding="utf-8")
    if not problems:
        disk.unmount()
        shutil.rmtree(work, ignore_errors=True)
    return 1 if problems else 0


def work_folder(faults: int, seed: int) -> Path:
    """Where a storm keeps what it needs to go on: another one for other code."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "slurmwright" / "storm" / f"{code_digest()}-{faults}-{seed}"


if __name__ == "__main__":
    sys.exit(main())
