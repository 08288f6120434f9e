"""docs/storm.md: what hit the run, and what it cost."""

import statistics
from importlib.metadata import version
from pathlib import Path

from conf.folder import RunFolder
from tests.faults.watch import Watch
from tests.proof.measured import STACK
from tests.proof.page import table
from tests.storm.job import INTERVAL, ROWS
from tests.storm.schedule import DAMAGE, KINDS, NOTICE, WORDS
from tests.storm.side_by_side import INTERVAL as PLAIN_INTERVAL
from tests.storm.side_by_side import goodput
from tests.storm.state import Hit, State
from tests.storm.storm import Storm
from tests.storm.strike import seconds

DOCUMENT = Path(__file__).parents[2] / "docs" / "storm.md"


def page(storm: Storm, seed: int, problems: list[str]) -> str:
    """The page as Markdown."""
    state, faults = storm.state, len(storm.faults)
    assert state.calm is not None
    stack = ", ".join(f"{name} {version(name)}" for name in STACK)
    same = "the same, byte for byte, as" if state.digest == state.calm.digest else "NOT those of"
    parts = [
        "# Storm",
        f"Made by `make storm FAULTS={faults} SEED={seed}`. One job of two nodes, a full tune of a Llama of 0.15 M "
        f"parameters with dropout 0.1 over {state.calm.steps} steps of 8 sequences ({ROWS} rows, shuffled anew in each "
        f"epoch), a checkpoint each {INTERVAL} steps, on a real Slurm. {len(state.hits)} faults hit it. Its final "
        f"weights are {same} those of a calm run: sha256 {_short(state.digest)} and {_short(state.calm.digest)}. "
        f"{stack}.",
        "## Steps lost",
        table(["fault", "hits", "steps lost, mean", "most", "may lose"], [_kind(state, kind) for kind in KINDS]),
        "## Figures",
        table(["figure", "value"], figures(storm)),
        "Goodput is useful steps x the step time of the calm run / the time for which jobs held their nodes. The "
        "run is tiny, so that starting anew is nearly all it does: the figure compares, it does not predict.",
    ]
    if state.ours is not None and state.plain is not None:
        parts += ["## The same preemptions on a plain TRL script", beside(state)]
    parts += ["## Every fault", table(["", "fault", "phase", "what", "step before", "step after", "lost"], log(state))]
    if problems:
        parts += ["## Broken promises", *(f"- {problem}" for problem in problems)]
    return "\n\n".join(parts) + "\n"


def _kind(state: State, kind: str) -> list[str]:
    hits = [hit for hit in state.hits if hit.kind == kind]
    lost = [hit.lost for hit in hits if hit.lost is not None]
    may = "0" if kind in NOTICE else str(2 * INTERVAL) if kind in DAMAGE else str(INTERVAL)
    name = WORDS[kind] + (" (and SIGKILL)" if kind in DAMAGE else "")  # type: ignore[index]  # as text from state.json
    if not lost:
        return [name, str(len(hits)), "", "", may]
    return [name, str(len(hits)), f"{statistics.mean(lost):.1f}", str(max(lost)), may]


def figures(storm: Storm) -> list[list[str]]:
    """Name and value of each figure."""
    state = storm.state
    assert state.calm is not None
    held = sum(state.held.values())
    saved = [hit.saved for hit in state.hits if hit.saved is not None]
    starts = first_steps(storm.folder) if storm.folder.path.exists() else []
    lost = [hit.lost or 0 for hit in state.hits if hit.kind not in DAMAGE]
    rows = [
        ["faults, of these inside a save", f"{len(state.hits)}, {sum(hit.phase == 'save' for hit in state.hits)}"],
        ["steps lost in all, damaged files apart", str(sum(lost))],
        ["steps lost to damaged files", str(sum(hit.lost or 0 for hit in state.hits if hit.kind in DAMAGE))],
        ["time held / calm run's", f"{held:.0f} s / {state.calm.held:.0f} s"],
        ["goodput", f"{state.calm.steps * state.calm.step_seconds / held:.3f}" if held else "?"],
        ["step time of the calm run", f"{state.calm.step_seconds:.3f} s"],
    ]
    if released := sum(hit.released for hit in state.hits):
        rows.append(["times that Slurm held the job after a failed launch, and `resume` released it", str(released)])
    if saved:
        rows.append(["notice to durable checkpoint, median / most", _spread(saved)])
    if starts:
        rows.append(["start of an attempt to its first step, median / most", _spread(starts)])
    return rows


def first_steps(folder: RunFolder) -> list[float]:
    """Seconds from the start of each attempt to its first step."""
    watch = Watch(folder).look()
    starts = [line for line in watch.events if line["event"] == "started"]
    lines = [watch.lines_of(int(start["attempt"])) for start in starts]
    return [seconds(start["t"], line[0]["t"]) for start, line in zip(starts, lines, strict=True) if line]


def beside(state: State) -> str:
    """Both stretches side by side."""
    assert state.ours is not None and state.plain is not None and state.calm is not None
    ours, plain, step = state.ours, state.plain, state.calm.step_seconds
    ratio = goodput(ours, step) / goodput(plain, step)
    rows = [
        ["preemptions", str(ours.interruptions), str(plain.interruptions)],
        ["steps lost", str(ours.lost), str(plain.lost)],
        ["times that a person had to submit it again", "0", str(plain.resubmitted)],
        ["time held", f"{ours.held:.0f} s", f"{plain.held:.0f} s"],
        ["goodput", f"{goodput(ours, step):.3f}", f"{goodput(plain, step):.3f} (ratio {ratio:.2f})"],
    ]
    words = (
        f"Both make {ours.steps} steps on two nodes and save each {PLAIN_INTERVAL} steps; the script runs under "
        "`sbatch --requeue` and resumes from its last checkpoint. Where a preemption ends its job for good, it is "
        "submitted again at once: no weekend is counted."
    )
    return f"{words}\n\n{table(['', 'Slurmwright', 'plain TRL'], rows)}"


def log(state: State) -> list[list[str]]:
    """One line a fault."""
    return [
        [str(hit.number + 1), WORDS[hit.kind], hit.phase.replace("_", " "), hit.detail, *_steps(hit)]
        for hit in state.hits
    ]


def _steps(hit: Hit) -> list[str]:
    return [str(hit.before), "" if hit.after is None else str(hit.after), "" if hit.lost is None else str(hit.lost)]


def _short(digest: str | None) -> str:
    return (digest or "?")[:16]


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} s / {max(values):.1f} s"
