"""docs/asha.md from what was measured."""

from tests.search_proof.measured import MEDIAN, NEAR, SHARE, WORST, Grid, Search


def page(grid: Grid, searches: list[Search], steps: int, first: int, eta: int) -> str:
    """The page."""
    lines = [
        "# Successive halving against the whole grid",
        "",
        "Made by `make asha` on CPUs, with a two-layer model: every configuration of a grid is trained to its end, and",
        f"then searched with `sweep=asha` from several seeds. {len(grid.losses)} configurations (learning rates x LoRA",
        f"ranks) of {steps} steps; rungs begin at {first} steps, one trial in {eta} goes on.",
        "",
        f"- whole grid: {grid.steps} steps; held-out loss best {grid.best:.4f}, median {grid.median:.4f} "
        f"(+{grid.median / grid.best - 1:.0%}), worst {grid.worst:.4f} (+{grid.worst / grid.best - 1:.0%})",
        f"- asked of the grid: median at least {MEDIAN:.0%}, worst at least {WORST:.0%} above the best",
        f"- asked of a search: at most {SHARE:.0%} of the steps, a configuration within {NEAR:.0%} of the best, and",
        "  that configuration's loss in the grid, which never paused it, to the last bit",
        "",
        "| seed | steps | of the grid's | trials that stand at each step | loss found | above the best |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for search in searches:
        stands = ", ".join(f"{step}: {count}" for step, count in search.reached.items())
        lines.append(
            f"| {search.seed} | {search.steps} | {search.steps / grid.steps:.0%} | {stands} | {search.loss:.4f} | "
            f"{search.loss / grid.best - 1:+.2%} |"
        )
    return "\n".join(lines) + "\n"
