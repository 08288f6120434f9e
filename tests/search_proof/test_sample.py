"""A sample of the proof with a trainer that takes no time: a grid of 12, and one search over it."""

import pytest

from sweeps.folder import SweepFolder
from tests.search_proof.measured import Grid, Search, broken, read_grid, read_search
from tests.search_proof.page import page
from tests.sweeps.searches import Home

# Nothing is trained, but many processes start: too slow for `make check`.
pytestmark = pytest.mark.train

AXES = ["method.learning_rate=1e-4,1e-3,1e-2,1e-1", "adapter.r=2,8,32"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Grid, Search]:
    home = Home(tmp_path_factory.mktemp("asha"))
    found = []
    for name, words in (("grid", ["-m"]), ("asha", ["sweep=asha", "sweep.trials=12", "sweep.min_steps=2"])):
        home.run("launcher", *home.words(f"sweep.name={name}", f"run.root={name}", *words, *AXES))
        found.append(SweepFolder(home.folder / name / name))
    return read_grid(found[0]), read_search(found[1], 42)


def test_half_the_steps_find_one_of_the_best(measured: tuple[Grid, Search]) -> None:
    grid, search = measured
    assert (len(grid.losses), grid.steps) == (12, 12 * 18)
    assert broken(grid, [search]) == []
    assert sum(search.reached.values()) == 12 and sum(step * n for step, n in search.reached.items()) == search.steps
    assert f"| 42 | {search.steps} |" in page(grid, [search], 18, 2, 3)


def test_what_is_broken_is_said(measured: tuple[Grid, Search]) -> None:
    grid, search = measured
    worst = max(grid.losses, key=lambda run_id: grid.losses[run_id])
    wrong = Search(1, grid.steps, search.reached, worst, 0.0)
    assert [problem.partition(" ")[0] for problem in broken(grid, [wrong])] == ["seed"] * 3
    assert "no test" in broken(Grid(dict.fromkeys(grid.losses, 1.0), grid.steps), [])[0]
