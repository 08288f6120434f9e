"""What a row is, whatever file it came from; and which rows are held out."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trainer.errors import PreparationError

MOST_PROBLEMS = 10
"""Bad rows that are named before reading stops."""
Objective = Literal["sft", "pretrain"]
LearnEnd = Literal["turn", "all", "last", "none"]
Message = dict[str, Any]
"""One turn of a conversation: `role`, `content`, and whatever else the row gives it for the template."""


@dataclass(frozen=True)
class Asked:
    """A prompt and its answer as plain text, tokenised apart from each other unless `joined`."""

    prompt: str
    answer: str
    joined: bool = False


@dataclass(frozen=True)
class Row:
    """One row: a conversation, plain text, a prompt with its answer, pieces of text, or tokens. One of them is set."""

    messages: tuple[Message, ...] = ()
    text: str | None = None
    asked: Asked | None = None
    segments: tuple[tuple[str, bool], ...] | None = None
    """Pieces of text, and whether each is learnt."""
    tokens: tuple[int, ...] | None = None
    """Numbers of tokens."""
    learn: tuple[bool, ...] | None = None
    """Which messages are learnt; None: those of the assistant. Which tokens are learnt; None: all."""
    learn_end: LearnEnd = "turn"
    """Which tokens that end a message are learnt, as data.learn_end."""
    tools: tuple[Any, ...] | None = None
    """Tools that the template is to list."""
    template: str | None = None
    """Text of the chat template; None is the tokenizer's."""
    everything: bool = False
    """Whether every token is learnt, whatever it belongs to."""

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON of what the row says, in hex."""
        if self.text is not None:
            value: dict[str, Any] = {"text": self.text}
        elif self.asked is not None:
            value = {"prompt": self.asked.prompt, "answer": self.asked.answer}
        elif self.segments is not None:
            value = {"segments": self.segments}
        elif self.tokens is not None:
            value = {"tokens": self.tokens, "learn": self.learn}
        else:
            value = {"messages": self.messages} | ({"tools": self.tools} if self.tools else {})
        return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


class RowProblems(PreparationError):
    """A file with rows that cannot be used: `problems` holds up to MOST_PROBLEMS of them, as `FILE line 3: ...`."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        more = f"\n(reading stopped after {MOST_PROBLEMS} bad rows)" if len(problems) >= MOST_PROBLEMS else ""
        super().__init__("\n".join(problems) + more)


class BadRow(Exception):
    """What is wrong with one row."""


def split(rows: Sequence[Row], fraction: float, seed: int, count: int | None = None) -> tuple[list[Row], list[Row]]:
    """Training rows and held-out rows, each in the order of the file.

    Which rows are held out depends on the seed and their contents alone, so equal rows are never divided. `count` of
    the rows' contents are held out, or about `fraction` of the rows. Any fraction above 0 holds out at least one row,
    unless there is but one; training keeps at least one too.
    """
    ranks = [hashlib.sha256(f"{seed}:{row.digest}".encode()).digest() for row in rows]
    distinct = sorted(set(ranks))
    if count is None and fraction > 0:
        count = max(round(len(rows) * fraction), 1)
    held = set(distinct[: min(count or 0, len(distinct) - 1)])
    train = [row for row, rank in zip(rows, ranks, strict=True) if rank not in held]
    return train, [row for row, rank in zip(rows, ranks, strict=True) if rank in held]


def falls_to(row: Row, fraction: float, seed: int) -> bool:
    """Whether a row is held out where the rows to come are not known: by its contents, with this probability."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{row.digest}".encode()).digest()[:8]) < fraction * 2**64


def digest_of_rows(rows: Iterable[Row]) -> str:
    """sha256 over rows in order, in hex."""
    whole = hashlib.sha256()
    for row in rows:
        whole.update(row.digest.encode())
    return whole.hexdigest()
