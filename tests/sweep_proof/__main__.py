"""`make sweep-proof`: 12 trials of ranks, learning rates and seeds, with preemptions; writes docs/sweep-proof.md."""

import os
import sys
import tempfile
from pathlib import Path

from tests.slurm.cluster import Cluster
from tests.slurm.conftest import suffix
from tests.slurm.launching import Login
from tests.sweep_proof.grid import Outcome, SweepUnderPreemption

PAGE = Path(__file__).parents[2] / "docs" / "sweep-proof.md"
AXES = ("adapter.r=4,8", "method.learning_rate=3e-3,1e-2", "sweep.seeds=[1,2,3]")
STEPS, PREEMPTIONS = 40, 6


def main() -> int:
    """Run the proof. Gives the exit code."""
    cluster = Cluster.boot(suffix(os.getpid()), owner=os.getpid())
    try:
        with tempfile.TemporaryDirectory() as home:
            login = Login(cluster, Path(home), Path(home) / "store")
            found = SweepUnderPreemption(cluster, login, STEPS).prove(AXES, PREEMPTIONS)
    finally:
        cluster.down()
    text = page(found)
    print(text)
    if any(each.digest != each.alone for each in found):
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


def page(found: list[Outcome]) -> str:
    """The page as Markdown."""
    same = sum(each.digest == each.alone for each in found)
    lines = [
        "# A sweep under preemption",
        "",
        f"Made by `make sweep-proof` on a private Slurm cluster of 4 nodes: {len(found)} trials of a tiny Llama "
        f"({' '.join(AXES)}, {STEPS} steps, dropout on), {sum(each.preemptions for each in found)} of them preempted "
        f"while they trained. {same} of {len(found)} end with the very adapter, bit by bit, of the same command alone.",
        "",
        "| trial | values | preempted | attempts | job | weights, sha256 | alone |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in found:
        values = " ".join(f"{key}={value}" for key, value in each.values.items())
        verdict = "the same" if each.digest == each.alone else f"{each.alone}"[:12]
        cells = [each.number, values, each.preemptions, each.attempts, each.job_id, each.digest[:12], verdict]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
