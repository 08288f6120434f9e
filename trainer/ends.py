"""Why an attempt ended: the one place where exit codes, signals and last words become a cause."""

import re
import signal
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from conf.folder import Cause, read_json

TAIL_LINES = 20
TAIL_COLUMNS = 400
NO_SPACE = ("No space left on device", "Disk quota exceeded")
_HUNG_UP = re.compile(
    r"closed by peer|connection reset|connection refused|remote process (has )?exited|broken pipe|DistNetworkError"
    r"|socket timed? ?out|connection was likely closed",
    re.IGNORECASE,
)
_MARK = re.compile(r"\[rank ?(\d+)\]:? ?")
_ROOTS: tuple[Cause, ...] = ("cancelled", "time_limit", "preempted", "disk_full", "out_of_memory", "launch_failed")
"""Causes that explain the others, which are then mere echoes on other nodes. A node that knows of no limit near by says
`preempted` of any notice; the head alone asks Slurm whether the limit was changed."""


class Ended(Exception):
    """The attempt is over, for another reason than that its workers are done."""

    def __init__(self, cause: Cause, message: str, node: str | None = None) -> None:
        self.cause: Cause = cause
        self.message = message
        self.node = node
        """The node that is to blame, where it is not the one that says so."""
        super().__init__(f"{cause}: {message}")


@dataclass(frozen=True)
class End:
    """How the attempt ended, seen from one node."""

    node: str
    """Name of the node."""
    cause: Cause
    """What ended it; `completed` when all workers of the node are done."""
    message: str = ""
    """Words for people."""
    exit_code: int | None = None
    """Exit code of the first worker that failed; minus the signal's number when it was killed."""

    def dump(self) -> dict[str, Any]:
        """As plain values, for the way to another node."""
        return asdict(self)

    @classmethod
    def load(cls, values: Mapping[str, Any]) -> "End":
        """From `dump`, trusting nothing."""
        cause: Any = values.get("cause")
        code = values.get("exit_code")
        return cls(
            node=str(values.get("node", "?")),
            cause=cause if cause in get_args(Cause) else "unknown",
            message=str(values.get("message", "")),
            exit_code=code if isinstance(code, int) else None,
        )


def worker_end(node: str, rank: int, code: int, attempt: Path, log_tail: str, memory_exhausted: bool) -> End:
    """The end of a worker that left with `code`, which is not 0.

    What the worker itself wrote down (`failure-<rank>.json`) comes first, then the kernel's word, then its last lines.
    """
    try:
        said = read_json(attempt / f"failure-{rank}.json")
    except ValueError:
        said = {}
    how = f"worker {rank} on {node} {describe(code)}"
    lines = f"; the log's last lines:\n{log_tail}" if log_tail else ""
    if said.get("cause") in get_args(Cause):
        message = f"{said.get('message') or how}"
        return End(node, said["cause"], message if said["cause"] in _ROOTS else f"{message}; {how}{lines}", code)
    words = how + lines
    killed = signal.SIGKILL in (-code, code - 128)
    if any(phrase in log_tail for phrase in NO_SPACE):
        return End(node, "disk_full", words, code)
    if killed and memory_exhausted:
        return End(node, "out_of_memory", f"the kernel killed it for want of memory: {words}", code)
    if killed or -code == signal.SIGTERM:
        return End(node, "worker_killed", words, code)
    last = log_tail.splitlines()[-3:]
    if any(_HUNG_UP.search(line) for line in last):
        return End(node, "network", words, code)
    return End(node, "worker_crash", words, code)


def describe(code: int) -> str:
    """An exit code in words, as in `was killed by SIGKILL` or `left with exit code 1`."""
    number = -code if code < 0 else code - 128
    try:
        return f"was killed by {signal.Signals(number).name}"
    except ValueError:
        return f"left with exit code {code}"


def verdict(ends: Sequence[End], nodes: Sequence[str]) -> End:
    """The one end of the attempt, from the ends of its nodes in the order in which they came.

    When one worker dies all others lose their connections, so `network` counts only where nothing else was seen; and
    then a node that has said nothing at all is the culprit."""
    bad = [end for end in ends if end.cause != "completed"]
    if not bad:
        return ends[0]
    for cause in _ROOTS:
        for end in bad:
            if end.cause == cause:
                return end
    for end in bad:
        if end.cause not in ("network", "unknown"):
            return end
    bad.sort(key=lambda end: end.cause == "unknown")
    heard = {end.node for end in ends}
    silent = [node for node in nodes if node not in heard]
    if silent:
        lost = f"no word from {', '.join(silent)}: the node or its agent is gone"
        return End(silent[0], "node_failure", f"{lost}; {bad[0].message}", bad[0].exit_code)
    return bad[0]


def tail(log: Path, rank: int | None = None) -> str:
    """The last lines of a log, progress bars reduced to their last state; empty where there is no log.

    With `rank`, lines that torch marks as another worker's are left out: one crash makes all others complain."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 256 * 1024))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    lines: deque[str] = deque(maxlen=TAIL_LINES)
    for line in text.split("\n"):
        shown = line.rstrip("\r").rpartition("\r")[2].rstrip()
        mark = _MARK.match(shown)
        if mark is not None and rank is not None:
            if int(mark[1]) != rank:
                continue
            shown = shown[mark.end() :]
        if shown:
            lines.append(shown[:TAIL_COLUMNS])
    return "\n".join(lines)


def kills_for_memory(cgroups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int:
    """How many processes of this cgroup the kernel has killed for want of memory; 0 where it cannot be told."""
    try:
        lines = cgroups.read_text().splitlines()
    except OSError:
        return 0
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            file = root / path.lstrip("/") / "memory.events"
        elif "memory" in controllers.split(","):
            file = root / "memory" / path.lstrip("/") / "memory.oom_control"
        else:
            continue
        try:
            words = dict(entry.split() for entry in file.read_text().splitlines())
            return int(words["oom_kill"])
        except (OSError, ValueError, KeyError):
            continue
    return 0
