"""Verb `status`: where runs stand, in one table; of one run also what became of its attempts."""

from collections.abc import Sequence
from typing import Any

from conf.folder import RunFolder
from launcher.arguments import Parser
from launcher.attempts import attempts_of, excluded_nodes, lost_nodes, table
from launcher.progress import Progress, clock
from launcher.report import document, one_line, say
from launcher.runs import find, list_runs
from launcher.slurm import queue
from launcher.state import State, job_ids, state_of

HEADINGS = ["run", "state", "job", "step", "loss", "eval loss", "rate", "left", "nodes"]
REASONS = {
    "Priority": "others come first",
    "Resources": "waits for free nodes",
    "Dependency": "waits for another job",
    "DependencyNeverSatisfied": "the job that it waits for failed: cancel it and resume later",
    "BeginTime": "waits for its begin time, or the pause after a requeue",
    queue.LAUNCH_FAILED: "a node could not start it, mostly since an old start still ran there: type `resume` for it",
    "JobHeldUser": "held: scontrol release JOB",
    "JobHeldAdmin": "held by an administrator",
    "PartitionTimeLimit": "cluster.time is over the partition's limit",
    "PartitionNodeLimit": "cluster.nodes is over the partition's limit",
    "ReqNodeNotAvail": "nodes that it needs are down or reserved",
    "Reservation": "waits for its reservation",
    "Licenses": "waits for a licence",
}
"""Slurm's more frequent reasons, in words."""


def main(argv: Sequence[str]) -> int:
    """`python -m launcher status [RUN...] [--root DIR] [--json]`. Returns the exit code."""
    parser = Parser("status", "Where runs stand: from their folders and, where it answers, from Slurm.")
    parser.add_argument("runs", nargs="*", metavar="RUN", help="run id or folder (default: all)")
    arguments = parser.read(argv)
    folders = [find(run, arguments.root) for run in arguments.runs] or list_runs(arguments.root)
    rows, complaint = describe(folders, finished=bool(arguments.runs))
    if complaint:
        say(f"Slurm cannot be asked: {complaint}")
    if arguments.runs:
        for folder, row in zip(folders, rows, strict=True):
            history = attempts_of(folder)
            row |= {"history": history, "lost_nodes": lost_nodes(history), "excluded_nodes": excluded_nodes(history)}
    if arguments.json:
        document({"runs": rows})
        return 0
    show(rows, arguments.root)
    if len(arguments.runs) == 1 and rows[0]["history"]:
        print("\n" + "\n".join(table(rows[0]["history"])))
    return 0


def describe(folders: list[RunFolder], finished: bool = False) -> tuple[list[dict[str, Any]], str | None]:
    """One record a run, with one question to Slurm for all of them, with `finished` about finished ones too; and why
    there was no answer."""
    answer = queue.look(job_ids(folders, finished))
    return [_record(folder, state_of(folder, answer)) for folder in folders], answer.complaint


def _record(folder: RunFolder, state: State) -> dict[str, Any]:
    progress, result, job = Progress.of(folder), folder.result(), state.job
    running = state.status == "running"
    return {
        "run_id": folder.id,
        "status": state.status,
        "job_id": state.job_id,
        "slurm_state": job.state if job else None,
        "reason": job.reason if job and job.waiting else None,
        "expected_start": job.start if job and job.waiting else None,
        "phase": progress.phase if running else None,
        "changed": progress.changed,
        "step": result.get("step", progress.step),
        "steps": progress.steps,
        "train_loss": result.get("train_loss", progress.loss),
        "eval_loss": result.get("eval_loss", progress.eval_loss),
        "seconds_per_step": progress.seconds_per_step if running else None,
        "tokens_per_second": progress.tokens_per_second if running else result.get("tokens_per_second"),
        "seconds_left": progress.seconds_left if running else None,
        "nodes": list(state.nodes),
        "cause": state.cause,
        "message": state.message,
        "folder": str(folder.path),
        "attempts": len(folder.attempt_numbers()),
    }


def show(rows: list[dict[str, Any]], root: str) -> None:
    """Print records as a table, and below it what needs more words."""
    if not rows:
        print(one_line(f"no runs in {root}"))
        return
    cells_of = [_cells(row) for row in rows]
    columns = [index for index in range(len(HEADINGS)) if any(cells[index] for cells in cells_of)]
    widths = [max(len(line[index]) for line in (HEADINGS, *cells_of)) for index in columns]
    for line in (HEADINGS, *cells_of):
        cells = [line[index].ljust(width) for index, width in zip(columns, widths, strict=True)]
        print(one_line("  ".join(cells).rstrip()))
    words = [(row["run_id"], why) for row in rows if (why := _why(row))]
    print("\n" * bool(words), end="")
    for run_id, why in words:
        print(one_line(f"{run_id}: {why}"))


def _cells(row: dict[str, Any]) -> list[str]:
    steps = f"{row['step']}/{row['steps']}" if row["steps"] else str(row["step"] or "")
    nodes = row["nodes"]
    return [
        row["run_id"],
        row["status"],
        row["job_id"] or "",
        steps,
        _number(row["train_loss"]),
        _number(row["eval_loss"]),
        f"{row['seconds_per_step']:.2f} s a step" if row["seconds_per_step"] else "",
        clock(row["seconds_left"]),
        ",".join(nodes[:4]) + (f" and {len(nodes) - 4} more" if len(nodes) > 4 else ""),
    ]


def _why(row: dict[str, Any]) -> str:
    if row["reason"] or row["expected_start"]:
        reason = row["reason"] or "not scheduled yet"
        words = f"{reason}: {REASONS[reason]}" if reason in REASONS else reason
        return words + (f"; expected start {row['expected_start']}" if row["expected_start"] else "")
    if row["status"] == "running":
        first = row["message"].partition("\n")[0] or row["phase"]
        return f"{first}; resumed with {row['changed']}" if row["changed"] else str(first)
    cause = row["cause"] if row["cause"] not in (None, row["status"]) else ""
    first = row["message"].partition("\n")[0]
    return ": ".join(part for part in (cause.replace("_", " "), first) if part)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
