"""What hits the run, where in its life, and after how many more steps: all from one seed."""

import random
from collections import Counter
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "preemption", "time_limit", "worker", "agent", "slurmd", "node", "link", "slurmctld", "full_disk", "truncated",
    "bit_flip",
]  # fmt: skip
Phase = Literal["prepare", "load", "first_step", "step", "evaluate", "save"]

NOTICE: tuple[Kind, ...] = ("preemption", "time_limit")
"""Faults before which the run is told: no step may be lost."""
DAMAGE: tuple[Kind, ...] = ("truncated", "bit_flip")
"""Faults that take the newest checkpoint away as well."""
WORDS: dict[Kind, str] = {
    "preemption": "preemption",
    "time_limit": "time limit",
    "worker": "kill -9 of a worker",
    "agent": "kill -9 of an agent",
    "slurmd": "kill -9 of slurmd",
    "node": "a node loses power",
    "link": "a node's link is down",
    "slurmctld": "restart of slurmctld",
    "full_disk": "full disk",
    "truncated": "truncated checkpoint file",
    "bit_flip": "flipped bit in a checkpoint file",
}
KINDS: tuple[Kind, ...] = tuple(WORDS)
PHASES: dict[Kind, tuple[Phase, ...]] = {
    "preemption": ("step", "save", "evaluate", "load", "first_step", "prepare"),
    "time_limit": ("step", "save", "evaluate", "load", "first_step"),
    "worker": ("step", "save", "evaluate"),
    "agent": ("step", "save", "evaluate"),
    "slurmd": ("step", "save"),
    "node": ("step", "save", "load", "first_step"),
    "link": ("step", "save", "load"),
    "slurmctld": ("step",),
    "full_disk": ("step", "save"),
    "truncated": ("step",),
    "bit_flip": ("step",),
}
"""Where each can hit. Before the first step only what costs no crash: two of these at one step end a run, as they must.
"""
EARLY: tuple[Phase, ...] = ("prepare", "load", "first_step")
"""Phases of an attempt that has made no step yet."""
EACH = 3
"""Times that each kind comes at least, when there are enough faults."""
_NO_PLACE: tuple[Kind, ...] = (*DAMAGE, "slurmctld", "full_disk", "time_limit")
"""What no early phase follows: what damages a checkpoint, what a person mends, what ends no attempt; and a time limit,
since two of them without a step in between end a run, as they must."""
GAP = (6, 18)
"""Steps between two faults, least and most."""


@dataclass(frozen=True)
class Fault:
    """One entry of the schedule."""

    kind: Kind
    phase: Phase
    mark: int
    """Step from which on it may hit; an early phase comes in the next attempt, whatever the step."""
    seed: int
    """Of its own dice: which node, rank, file, bit."""


def schedule(faults: int, seed: int) -> list[Fault]:
    """The faults in order. The same seed gives the same schedule.

    Each kind comes as often as possible up to EACH times before the others are drawn, a fifth of all hit inside a save,
    and no fault of an early phase follows on one that damages a checkpoint, so that what each has cost can be told."""
    dice = random.Random(seed)
    kinds = [kind for _ in range(EACH) for kind in dice.sample(KINDS, len(KINDS))][:faults]
    kinds += dice.choices(KINDS, k=faults - len(kinds))
    dice.shuffle(kinds)
    phases = _phases(kinds, dice)
    order = _in_order(list(zip(kinds, phases, strict=True)), dice)
    found, mark = [], 0
    for kind, phase in order:
        if phase not in EARLY:
            mark += dice.randint(*GAP)
        found.append(Fault(kind, phase, mark, dice.randrange(2**31)))
    return found


def last_mark(faults: list[Fault]) -> int:
    """Step from which on the last fault may hit."""
    return max(fault.mark for fault in faults)


def _phases(kinds: list[Kind], dice: random.Random) -> list[Phase]:
    """A phase for each: those that few kinds allow first, then saves, then the plain middle of training or what the
    dice say."""
    phases: list[Phase | None] = [None] * len(kinds)

    def give(phase: Phase, count: int) -> None:
        able = [n for n, kind in enumerate(kinds) if phases[n] is None and phase in PHASES[kind]]
        for n in dice.sample(able, min(count, len(able))):
            phases[n] = phase

    give("prepare", 1 if len(kinds) >= len(KINDS) else 0)
    for phase in ("load", "first_step", "evaluate"):
        give(phase, len(kinds) // 16)
    give("save", -(-len(kinds) // 5))
    return [phase or _plain(kind, dice) for phase, kind in zip(phases, kinds, strict=True)]


def _plain(kind: Kind, dice: random.Random) -> Phase:
    """The plain middle of training, mostly."""
    if dice.random() < 0.8:
        return "step"
    return dice.choice([phase for phase in PHASES[kind] if phase != "prepare"])


def _in_order(found: list[tuple[Kind, Phase]], dice: random.Random) -> list[tuple[Kind, Phase]]:
    """What hits the preparation comes first; other early phases are laid behind faults that end an attempt, no two of
    them in a row."""
    early = _each_once_first([one for one in found if one[1] in EARLY and one[1] != "prepare"])
    first = [one for one in found if one[1] == "prepare"]
    rest = [one for one in found if one[1] not in EARLY]
    places = [n for n, (kind, _) in enumerate(rest) if kind not in _NO_PLACE]
    behind = dict(zip(sorted(dice.sample(places, min(len(early), len(places)))), early, strict=False))
    order = list(first)
    for n, one in enumerate(rest):
        order.append(one)
        if n in behind:
            order.append(behind[n])
    # Too few places: the others hit plain training instead.
    order += [(kind, "step") for kind, _ in early[len(behind) :]]
    return order


def _each_once_first(early: list[tuple[Kind, Phase]]) -> list[tuple[Kind, Phase]]:
    """One of each phase before a second of any, so that where places are few each phase has one."""
    seen: Counter[Phase] = Counter()
    turns = []
    for number, (_, phase) in enumerate(early):
        turns.append((seen[phase], number))
        seen[phase] += 1
    return [early[number] for _, number in sorted(turns)]


def counts(faults: list[Fault]) -> dict[Kind, int]:
    """How often each kind comes."""
    found = Counter(fault.kind for fault in faults)
    return {kind: found[kind] for kind in KINDS}
