"""Verb `doctor`: what this site is, and what that means for runs."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from launcher.arguments import Parser
from launcher.errors import SiteError
from launcher.meaning import describe, meanings
from launcher.report import document, one_line, say
from launcher.site import site_facts, user_cache, with_trial
from launcher.slurm.facts import HISTORY_DAYS, SiteFacts
from launcher.slurm.from_node import NodeFacts, Place, Wanted, ask_node, try_requeue
from launcher.slurm.reach import NAMES

_CHOICES = ("partition", "account", "qos", "constraint", "reservation", "nodelist", "gres")
"""Flags that say where a command runs; as in a run's command they may be written site.NAME=, too."""
_SPELLINGS = {f"site.{name}": f"--{name}" for name in _CHOICES} | {"store.root": "--store", "site.python": "--python"}


def main(argv: Sequence[str]) -> int:
    """`python -m launcher doctor [--from-node] [--fresh] [--json]`. Gives the exit code.

    Raises SiteError where there is no Slurm."""
    arguments = _parser().read([_spelled(word) for word in argv])
    facts = site_facts(arguments.fresh)
    node, complaint = None, None
    if arguments.from_node:
        chosen = {name: value for name in _CHOICES if (value := getattr(arguments, name)) is not None}
        store = Path(arguments.store or os.environ.get("SLURMWRIGHT_STORE") or user_cache())
        wanted = Wanted(Path(arguments.root), store, arguments.python, chosen, arguments.timeout)
        facts = with_trial(facts, try_requeue(wanted))
        try:
            node = ask_node(wanted)
        except SiteError as error:
            complaint = error.message
    if arguments.json:
        document(_record(facts, node, complaint))
    else:
        print("\n".join(one_line(line) for line in lines(facts, node)))
    if complaint is not None:
        say(f"error: {complaint}")
        return SiteError.exit_code
    return 0


def _parser() -> Parser:
    parser = Parser("doctor", "What this site's Slurm is set to, and what that means for runs. Kept for a day.")
    parser.add_argument("--fresh", action="store_true", help="ask again, whatever is kept")
    parser.add_argument("--from-node", action="store_true", help="run a small command on a compute node, too")
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="seconds that it may wait in the queue (default: 60)"
    )
    parser.add_argument("--store", help="store to be tried there (default: that of runs)")
    parser.add_argument("--python", default=sys.executable, help="Python to be tried there (default: this one)")
    for name in _CHOICES:
        parser.add_argument(f"--{name}", help=f"{name} for that command, as srun takes it; also site.{name}=...")
    return parser


def _spelled(word: str) -> str:
    name, equals, value = word.partition("=")
    return f"{_SPELLINGS[name]}={value}" if equals and name in _SPELLINGS else word


def _record(facts: SiteFacts, node: NodeFacts | None, complaint: str | None) -> dict[str, Any]:
    return {
        "site": TypeAdapter(SiteFacts).dump_python(facts, mode="json"),
        "requeue": facts.requeue,
        "means": [asdict(meaning) for meaning in meanings(facts)],
        "node": None if node is None else asdict(node),
        "node_means": [] if node is None else list(on_node(node)),
        "error": complaint,
    }


def lines(facts: SiteFacts, node: NodeFacts | None = None) -> Iterator[str]:
    """The whole page for people."""
    who = f", cluster {facts.cluster}" if facts.cluster else ""
    yield f"Slurm {facts.version or 'of an unknown version'}{who} (asked {facts.asked[:16].replace('T', ' ')} UTC)"
    yield ""
    rows = list(_rows(facts))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        yield f"  {name:{width}}  {value}"
    yield ""
    yield "what it means for runs"
    for meaning in meanings(facts):
        yield f"  - {meaning.message}"
    if node is not None:
        yield ""
        yield f"on a compute node ({node.host})"
        for words in on_node(node):
            yield f"  - {words}"


def _rows(facts: SiteFacts) -> Iterator[tuple[str, str]]:
    preempt = [f"{facts.preempt_type}, {facts.preempt_mode}"] if facts.preempt_type else []
    shown: dict[str, tuple[str, list[str]]] = {
        "JobRequeue": ("job_requeue", _value(facts.job_requeue)),
        "preemption": ("preempt_type", [*preempt, *facts.preempt_parameters]),
        "KillWait": ("kill_wait_seconds", _value(facts.kill_wait_seconds, " s")),
        "process tracking": ("proctrack", _value(facts.proctrack)),
        "MaxArraySize": ("max_array_size", _value(facts.max_array_size)),
        "MaxJobCount": ("max_job_count", _value(facts.max_job_count)),
        "MinJobAge": ("min_job_age_seconds", _value(facts.min_job_age_seconds, " s")),
        "submit plugins": ("submit_plugins", list(facts.submit_plugins) or ["none"]),
        "accounting": ("accounting", _accounting(facts)),
        "your accounts": ("associations", list(dict.fromkeys(each.account for each in facts.associations))),
        "your QOS": ("qos", sorted({name for each in facts.associations for name in each.qos})),
        f"last {HISTORY_DAYS} days": ("history", _history(facts)),
        "jobs at once": ("max_job_count", _value(facts.submit_limit())),
    }
    for name, (field, values) in shown.items():
        why = facts.unknown.get(field)
        yield name, f"not known: {why}" if why else ", ".join(values) or "not known"
    for partition in facts.partitions:
        yield f"partition {partition.name}", describe(partition)
    if not facts.partitions:
        yield "partitions", f"not known: {facts.unknown.get('partitions.states', 'there are none for you')}"
    lost = [program for program, there in facts.programs.items() if not there]
    yield "not on the PATH", ", ".join(lost) or "nothing is missing"


def _value(value: object, unit: str = "") -> list[str]:
    if value is None:
        return []
    return [("yes" if value else "no") if isinstance(value, bool) else f"{value}{unit}"]


def _history(facts: SiteFacts) -> list[str]:
    if facts.history is None:
        return []
    failures, hours = facts.history.node_failures, facts.history.node_hours
    return [f"{failures} of your jobs lost a node in {hours:.1f} node-hours"]


def _accounting(facts: SiteFacts) -> list[str]:
    if facts.accounting is None:
        return []
    if not facts.accounting:
        return ["none"]
    return ["yes, and it answers" if facts.accounting_answers else "yes, but it does not answer"]


def on_node(node: NodeFacts) -> Iterator[str]:
    """What a compute node said, and what that means for runs."""
    if node.python_version is None:
        yield f"{node.python} does not start there: give one that does by site.python=, or load it by site.modules"
    else:
        yield f"{node.python} is Python {node.python_version} there"
    yield _place("run.root", node.run_root)
    yield _place("store.root", node.store)
    if node.scontrol is None:
        yield "no scontrol on the PATH there: a run cannot ask for its own requeue from the node"
    else:
        yield f"scontrol is there ({node.scontrol})"
    if node.shm_gib is None:
        yield "no /dev/shm there: NCCL and data-loading processes need it"
    else:
        yield f"/dev/shm has {node.shm_gib:g} GiB"
    if node.routes:
        yield f"a default route by {', '.join(node.routes)}: the network outside may be reached"
    else:
        yield "no route out: bring weights and data into the store beforehand, and set offline=true"
    for what, answers in (("reached there", True), ("not reached there", False)):
        names = [NAMES.get(name, name) for name, reached in node.reaches.items() if reached is answers]
        if names:
            yield f"{what}: {', '.join(names)}"
    ahead = node.clock_ahead_seconds
    if ahead:
        yield f"its clock is at least {abs(ahead)} s {'ahead of' if ahead > 0 else 'behind'} this machine's"
    else:
        yield f"its clock agrees with this machine's to {node.clock_window_seconds} s"


def _place(field: str, place: Place) -> str:
    if place.shared and place.writable:
        return f"{field}: {place.path} is shared, and can be written to there"
    wrong = "is another folder there" if not place.shared else "cannot be written to there"
    return f"{field}: {place.path} {wrong}: choose one on a file system that all nodes share"
