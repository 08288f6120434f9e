"""`make asha`: train a whole grid of 20, then search it with sweep=asha from three seeds; write docs/asha.md.

Everything goes through the command line, on this machine. It goes on where it was interrupted. Exits 1 where a promise
is broken: the grid is no test (median less than 10 % or worst less than 30 % above the best), or a search takes more
than half of the grid's steps or finds nothing within 2 % of its best.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from sweeps.folder import SweepFolder
from tests.search_proof.measured import Grid, Search, broken, read_grid, read_search
from tests.search_proof.page import page
from tests.tiny import tiny_llama, tiny_rows

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "asha.md"
STEPS = 27
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
RANKS = (2, 4, 8, 16)
SEEDS = (1, 2, 3)
FIRST, ETA = 3, 3


def main() -> int:
    """The command. Gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.search_proof", description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "asha", help="where the runs lie")
    parser.add_argument("--ranks", type=int, nargs="+", default=list(RANKS), help="fewer for a small sample")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    home = arguments.folder.absolute()
    make_home(home)
    axes = [f"method.learning_rate={_list(RATES)}", f"adapter.r={_list(arguments.ranks)}"]
    launch(home, "grid", "-m", *axes)
    grid = read_grid(SweepFolder(home / "grid" / "grid"))
    searches = []
    for seed in arguments.seeds:
        asha = ["sweep=asha", f"sweep.trials={len(grid.losses)}", f"sweep.min_steps={FIRST}", f"sweep.eta={ETA}"]
        launch(home, f"asha-{seed}", *asha, f"sweep.sampler_seed={seed}", *axes)
        searches.append(read_search(SweepFolder(home / f"asha-{seed}" / f"asha-{seed}"), seed))
    return conclude(grid, searches, arguments.page)


def conclude(grid: Grid, searches: list[Search], place: Path) -> int:
    """Write the page, say what is broken. Gives the exit code."""
    place.write_text(page(grid, searches, STEPS, FIRST, ETA), encoding="utf-8")
    problems = broken(grid, searches)
    for problem in problems:
        print(f"BROKEN: {problem}", file=sys.stderr)
    print(f"written: {place}")
    return 1 if problems else 0


def make_home(home: Path) -> None:
    """A tiny model and its rows, the same each time."""
    if not (home / "rows.jsonl").is_file():
        home.mkdir(parents=True, exist_ok=True)
        tiny_llama(home / "tiny")
        tiny_rows(home / "rows.jsonl", 400, seed=1)


def launch(home: Path, name: str, *words: str) -> None:
    """Carry a sweep out to its end, in a run root of its own."""
    fixed = [
        "model=hf", f"model.id={home / 'tiny'}", "data=file", f"data.path={home / 'rows.jsonl'}", "data.max_length=64",
        "data.eval_rows=32", "cluster=local", "cluster.devices_per_node=1", "batch.global=8", "batch.micro=8",
        "cluster.cpu_threads=1",
        "adapter.modules_to_save=[embed_tokens,lm_head]", f"method.max_steps={STEPS}", "checkpoint.interval=null",
        "tracking=none", f"run.root={home / name}", f"sweep.name={name}",
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT), "SLURMWRIGHT_STORE": str(home / "store")}
    subprocess.run([sys.executable, "-m", "launcher", *fixed, *words], cwd=home, env=environment, check=True)


def _list(values: tuple[float, ...] | list[int]) -> str:
    return ",".join(f"{value:g}" for value in values)


if __name__ == "__main__":
    sys.exit(main())
