"""Verb `logs`: what a run's nodes have said; with -f until it ends."""

import time
from collections.abc import Callable, Sequence

from conf.folder import RunFolder
from conf.schema.problems import did_you_mean
from launcher import report
from launcher.arguments import Parser
from launcher.errors import InputError
from launcher.follow import follow
from launcher.runlogs import Logs, name, paths
from launcher.runs import find
from launcher.slurm import queue
from launcher.state import ACTIVE, job_ids, last_start, state_of

ASK = 30.0
"""Seconds between two questions to Slurm."""


def main(argv: Sequence[str]) -> int:
    """`python -m launcher logs RUN [-f] [--node NODE] [--attempt N]`. Gives the exit code; 4 when -f sees a failure."""
    parser = Parser("logs", "A run's log: of its newest attempt, every node's lines with its name in front.")
    parser.add_argument("run", metavar="RUN", help="run id or folder")
    parser.add_argument("-f", "--follow", action="store_true", help="follow until the run ends")
    parser.add_argument("--node", help="only this node; `slurm` is the batch script itself")
    parser.add_argument("--attempt", type=int, help="another attempt than the newest")
    arguments = parser.read(argv)
    folder = find(arguments.run, arguments.root)
    numbers = folder.attempt_numbers()
    attempt = arguments.attempt if arguments.attempt is not None else max(numbers, default=1)
    if arguments.attempt is not None and attempt not in numbers:
        there = ", ".join(map(str, numbers)) or "none yet"
        raise InputError(f"--attempt {attempt}: {folder.id} has no such attempt; there is: {there}")
    if arguments.follow:
        return follow(folder, as_json=arguments.json, running=watch(folder), first_attempt=attempt, node=arguments.node)
    known = sorted({name(path) for path in paths(folder, attempt, attempt)})
    if arguments.node is not None and arguments.node not in known:
        raise InputError(f"--node {arguments.node}: no log of that name; {did_you_mean(arguments.node, known)}")
    logs = Logs(folder, attempt, attempt, arguments.node)
    if arguments.json:
        report.document({"run_id": folder.id, "attempt": attempt, "logs": logs.texts()})
    elif not known:
        report.say(f"{folder.id} has no log yet: `python -m launcher status {folder.id}` says what it waits for")
    else:
        for line in logs.rest():
            print(report.inert(line))
    return 0


def watch(folder: RunFolder) -> Callable[[], bool]:
    """A function that tells whether a run is still going on; it asks Slurm seldom."""
    seldom = ASK if "pid" not in (last_start(folder) or {}) else 1.0
    active, next_time = True, 0.0

    def running() -> bool:
        nonlocal active, next_time
        if time.monotonic() >= next_time:
            active = state_of(folder, queue.look(job_ids([folder]))).status in ACTIVE
            next_time = time.monotonic() + seldom
        return active and not folder.result()

    return running
