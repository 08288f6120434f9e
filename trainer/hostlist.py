"""Slurm's host lists, `gpu[001-003,7],r[1-2]n[0-3]`, expanded without Slurm's own programs.

`scontrol show hostnames` is missing in many containers. A list that cannot be read is an error, never one local host:
N nodes that each take themselves for the only one train N models, happily and wrongly.
"""

import re
from collections import Counter
from itertools import product

LONGEST = 100_000
"""More names than any cluster has: a guard against a list that would fill the memory."""
_NAME = re.compile(r"[A-Za-z0-9._:-]*")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


class HostlistError(ValueError):
    """A host list that cannot be read."""

    def __init__(self, text: str, why: str) -> None:
        self.text = text
        self.why = why
        super().__init__(f"host list {text!r} cannot be read: {why}")


def expand(text: str) -> list[str]:
    """The names in a host list, in its order; with several brackets the last one turns fastest.

    Raises HostlistError where it is empty, malformed, or names a host twice."""
    names: list[str] = []
    for item in _split(text, text):
        parts = [
            _bracket(part[1:-1], text) if part.startswith("[") else [_literal(part, text)] for part in _parts(item)
        ]
        count = 1
        for part in parts:
            count *= len(part)
        if len(names) + count > LONGEST:
            raise HostlistError(text, f"it has more than {LONGEST} names")
        names += ["".join(choice) for choice in product(*parts)]
    if len(set(names)) != len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise HostlistError(text, f"it names {twice} twice")
    return names


def _split(text: str, whole: str) -> list[str]:
    """Split at commas outside brackets."""
    items, depth = [""], 0
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        if depth not in (0, 1):
            raise HostlistError(whole, "its brackets do not pair")
        if letter == "," and depth == 0:
            items.append("")
        else:
            items[-1] += letter
    if depth:
        raise HostlistError(whole, "its brackets do not pair")
    if not all(items):
        raise HostlistError(whole, "it has an empty name" if text else "it is empty")
    return items


def _parts(item: str) -> list[str]:
    """`r[1-2]n[0-3]` in pieces: `r`, `[1-2]`, `n`, `[0-3]`."""
    return [part for part in re.split(r"(\[[^\]]*\])", item) if part]


def _literal(part: str, whole: str) -> str:
    if not _NAME.fullmatch(part):
        raise HostlistError(whole, f"{part!r} is no part of a host name")
    return part


def _bracket(inside: str, whole: str) -> list[str]:
    numbers: list[str] = []
    for piece in inside.split(","):
        match = _RANGE.fullmatch(piece)
        if match is None:
            raise HostlistError(whole, f"{piece!r} is no number and no range of numbers")
        low, high = match[1], match[2] or match[1]
        if int(high) < int(low):
            raise HostlistError(whole, f"the range {piece} runs backwards")
        if int(high) - int(low) >= LONGEST:
            raise HostlistError(whole, f"it has more than {LONGEST} names")
        numbers += [str(number).zfill(len(low)) for number in range(int(low), int(high) + 1)]
    return numbers
