"""What became of a run's attempts: one row each for programs, a table and a few lines for people."""

from collections.abc import Iterator
from typing import Any

from conf.folder import Cause, RunFolder, read_json
from launcher.report import one_line

WORDS: dict[Cause, str] = {
    "completed": "done",
    "preempted": "preempted",
    "time_limit": "reached its time limit",
    "cancelled": "cancelled",
    "stopped": "stopped as asked",
    "pruned": "pruned as asked",
    "worker_crash": "a worker failed",
    "worker_killed": "killed from outside",
    "out_of_memory": "out of memory",
    "stalled": "hung",
    "node_failure": "a node was lost",
    "network": "a connection broke",
    "launch_failed": "could not start",
    "disk_full": "the disk was full",
    "unknown": "not known",
}
"""Cause of an attempt's end, in words."""
HEADINGS = ("attempt", "job", "nodes", "steps", "ended", "how it ended")


def attempts_of(folder: RunFolder) -> list[dict[str, Any]]:
    """Attempts, oldest first: `attempt`, `job_id`, `nodes`, `started`, `ended`, `from_step` and `to_step` (first and
    last step made; None where none was), `cause`, `message`, `lost_node`, `excluded` (nodes left out from then on)."""
    events = folder.events()
    made = _steps(folder, events)
    rows = []
    for number in folder.attempt_numbers():
        record = read_json(folder.attempt_folder(number) / "attempt.json")
        if not record:
            continue
        asked = [event for event in events if event.get("event") == "node_excluded" and event.get("attempt") == number]
        rows.append({
            "attempt": number,
            "job_id": record.get("job_id"),
            "nodes": list(record.get("nodes") or ()),
            "started": record.get("started"),
            "ended": record.get("ended"),
            "from_step": made.get(number, (None, None))[0],
            "to_step": made.get(number, (None, None))[1],
            "cause": record.get("cause"),
            "message": record.get("message") or "",
            "lost_node": record.get("culprit"),
            "excluded": list(dict.fromkeys(str(event.get("node")) for event in asked)),
        })  # fmt: skip
    return rows


def lost_nodes(rows: list[dict[str, Any]]) -> dict[str, int]:
    """How often each node was lost, most often first."""
    lost = [str(row["lost_node"]) for row in rows if row["lost_node"]]
    return {node: lost.count(node) for node in sorted(set(lost), key=lambda node: (-lost.count(node), node))}


def excluded_nodes(rows: list[dict[str, Any]]) -> list[str]:
    """Nodes that the newest attempt was not to have, as far as the run has left them out itself."""
    before = [row["excluded"] for row in rows if row["excluded"]]
    return before[-1] if before else []


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Lines for people: the attempts, and below them the nodes that have failed."""
    cells = [HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADINGS))]
    for line in cells:
        yield one_line("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    if lost := lost_nodes(rows):
        yield one_line("nodes lost: " + ", ".join(node + (f" {n} times" if n > 1 else "") for node, n in lost.items()))
    if excluded := excluded_nodes(rows):
        yield one_line(f"nodes left out since: {', '.join(excluded)}")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    nodes = row["nodes"]
    steps = "none" if row["from_step"] is None else f"{row['from_step']} to {row['to_step']}"
    first = str(row["message"]).partition("\n")[0]
    how = WORDS.get(row["cause"], "") if row["ended"] else "has not ended"
    return (
        str(row["attempt"]),
        str(row["job_id"] or ""),
        ",".join(nodes[:4]) + (f" and {len(nodes) - 4} more" if len(nodes) > 4 else ""),
        steps,
        str(row["ended"] or "")[:19].replace("T", " "),
        ": ".join(part for part in (how, first) if part),
    )


def _steps(folder: RunFolder, events: list[dict[str, Any]]) -> dict[int, tuple[int, int]]:
    """First and last step of each attempt that made one, by the times of its records. A line of metrics stands for the
    steps since the line before it, or since the checkpoint that the attempt resumed from."""
    starts = [(str(line.get("t", "")), int(line["attempt"])) for line in events if line.get("event") == "started"]
    resumed = {line.get("attempt"): int(line.get("step") or 0) for line in events if line.get("event") == "resumed"}
    made: dict[int, tuple[int, int]] = {}
    for line in folder.metrics():
        if "loss" not in line:
            continue
        number = max((attempt for begun, attempt in starts if begun <= str(line.get("t", ""))), default=None)
        if number is not None:
            first = made.get(number, (resumed.get(number, 0) + 1, 0))[0]
            made[number] = (first, int(line["step"]))
    return made
