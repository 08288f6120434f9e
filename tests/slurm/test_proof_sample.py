"""A few cells of the proof, anew with every change: `make proof` runs the matrix."""

from pathlib import Path

from tests.proof.cells import sample
from tests.proof.matrix import prove
from tests.proof.measured import Cache
from tests.slurm.cluster import Cluster


def test_interrupted_runs_end_with_the_weights_of_calm_ones(cluster: Cluster, tmp_path: Path) -> None:
    cells = sample()
    outcome = prove(cells, cluster, tmp_path / "home", Cache(tmp_path / "cache"))
    assert not outcome.wrong, "\n\n".join(outcome.wrong.values())
    assert set(outcome.found) == set(cells)
