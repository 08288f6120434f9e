"""From rows to token ids and labels: a label is the token's own id where it is learnt, IGNORED elsewhere."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trainer.data.chat import Rendered, Renderer, TemplateError
from trainer.data.rows import Asked, Row

IGNORED = -100
"""Label of a token that is not learnt: what torch's cross entropy leaves out."""
BATCH = 512
"""Rows tokenised in one call."""
Ids = NDArray[np.int32]
Overlong = Literal["cut", "drop", "split"]


@dataclass(frozen=True)
class Sample:
    """One row as tokens: two arrays of one length."""

    ids: Ids
    labels: Ids
    cut: bool
    """Whether the row was longer than data.max_length, and has lost its end."""

    @property
    def trained(self) -> int:
        """Tokens that are learnt."""
        return int((self.labels != IGNORED).sum())


def label_rows(
    rows: Iterable[Row], tokenizer: Any, max_length: int, overlong: Overlong = "cut", batch_size: int = BATCH
) -> Iterator[Sample]:
    """One sample for each row, in order, of at most `max_length` tokens; some may have nothing left to learn.

    Longer rows are cut; or left out with `drop`: their sample is empty; or with `split` plain text becomes several
    samples, and other rows are left out. Of a conversation the messages that the row names are learnt, of a prompt its
    answer and an end token, of plain text everything, with an end token after it; rows of tokens stay as they are. The
    first token has nothing to be predicted from and is never learnt. `batch_size` rows are taken at a time. Raises
    TemplateError, which names the row.
    """
    labeller = _Labeller(tokenizer)
    first = 1
    remaining = iter(rows)
    while batch := list(islice(remaining, batch_size)):
        for row, sample in zip(batch, labeller.samples(batch, first), strict=True):
            yield from _fitted(sample, max_length, overlong, is_text=row.text is not None)
        first += len(batch)


def learnt(offsets: NDArray[np.int64], answers: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    """Which tokens belong to an answer, from the characters (start, end) of each token, shape (tokens, 2).

    A token that begins before the answer belongs to the header: it cannot be predicted once the header is given.
    A token of no width, as some tokenizers report a lone space, lies at the end of what it stands for.
    """
    start, end = offsets[:, 0], offsets[:, 1]
    inside = np.zeros(len(offsets), np.bool_)
    for first, last in answers:
        inside |= np.where(start == end, (first < end) & (end <= last), (first <= start) & (start < last))
    return inside


class _Labeller:
    """A tokenizer, with a renderer for each template that rows ask for."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.renderers: dict[str | None, Renderer] = {}

    def samples(self, rows: Sequence[Row], first: int) -> list[Sample]:
        """The whole samples of some rows of any kinds, in order; `first` is the number of the first, from 1."""
        found: dict[int, Sample] = {}
        kinds: list[tuple[Callable[[Row], bool], Callable[[list[Row], list[int]], list[Sample]]]] = [
            (lambda row: row.text is not None, self._plain),
            (lambda row: row.asked is not None, self._asked),
            (lambda row: row.segments is not None, self._segments),
            (lambda row: row.tokens is not None, self._tokens),
            (_is_chat, self._chats),
        ]
        for belongs, label in kinds:
            places = [place for place, row in enumerate(rows) if belongs(row)]
            if places:
                made = label([rows[place] for place in places], [first + place for place in places])
                found |= dict(zip(places, made, strict=True))
        return [found[place] for place in range(len(rows))]

    def _plain(self, rows: list[Row], numbers: list[int]) -> list[Sample]:
        return [_sample(self._ended(ids), None) for ids in self._ids([row.text or "" for row in rows])]

    def _asked(self, rows: list[Row], numbers: list[int]) -> list[Sample]:
        """Prompt and answer are tokenised apart, as they are when the model is asked: a token never lies across their
        border. The answer has no start token of its own."""
        asked = [row.asked or Asked("", "") for row in rows]
        prompts = self._ids([one.prompt for one in asked])
        answers = self._ids([one.prompt + one.answer if one.joined else one.answer for one in asked])
        found = []
        for row, one, prompt, answer in zip(rows, asked, prompts, answers, strict=True):
            ended = self._ended(answer) if answer else []
            if not one.joined and ended and ended[0] == self.tokenizer.bos_token_id:
                ended = ended[1:]
            ids = ended if one.joined else prompt + ended
            mask = np.arange(len(ids)) >= len(prompt)
            found.append(_sample(ids, None if row.everything else mask))
        return found

    def _segments(self, rows: list[Row], numbers: list[int]) -> list[Sample]:
        """Each piece is tokenised by itself, with neither start nor end token: the row has what it wants of them."""
        pieces = [piece for row in rows for piece in row.segments or ()]
        encoded = iter(self._ids([text for text, _ in pieces], special=False))
        found = []
        for row in rows:
            ids: list[int] = []
            mask: list[bool] = []
            for _, flag in row.segments or ():
                piece = next(encoded)
                ids += piece
                mask += [flag] * len(piece)
            found.append(_sample(ids, None if row.everything else np.asarray(mask, np.bool_)))
        return found

    def _tokens(self, rows: list[Row], numbers: list[int]) -> list[Sample]:
        return [
            _sample(row.tokens or (), None if row.learn is None else np.asarray(row.learn, np.bool_)) for row in rows
        ]

    def _chats(self, rows: list[Row], numbers: list[int]) -> list[Sample]:
        rendered = [self._rendered(row, number) for row, number in zip(rows, numbers, strict=True)]
        encoded = self.tokenizer(
            [item.text for item in rendered],
            add_special_tokens=False,  # the template has written them
            return_offsets_mapping=True,
            return_attention_mask=False,
            verbose=False,
        )
        return [
            _sample(ids, learnt(np.asarray(offsets, np.int64).reshape(-1, 2), item.answers))
            for item, ids, offsets in zip(rendered, encoded["input_ids"], encoded["offset_mapping"], strict=True)
        ]

    def _rendered(self, row: Row, number: int) -> Rendered:
        if row.template not in self.renderers:
            self.renderers[row.template] = Renderer(self.tokenizer, row.template)
        try:
            return self.renderers[row.template].row(row)
        except TemplateError as error:
            raise TemplateError(f"row {number}: {error}") from error

    def _ids(self, texts: list[str], special: bool = True) -> list[list[int]]:
        """Token ids of each text; an empty text has none, not even a start token."""
        encoded = self.tokenizer(texts, add_special_tokens=special, return_attention_mask=False, verbose=False)
        return [list(ids) if text else [] for text, ids in zip(texts, encoded["input_ids"], strict=True)]

    def _ended(self, ids: list[int]) -> list[int]:
        end = self.tokenizer.eos_token_id
        return ids if ids and ids[-1] == end else [*ids, end]


def _is_chat(row: Row) -> bool:
    return row.text is None and row.asked is None and row.segments is None and row.tokens is None


def _sample(ids: Sequence[int], mask: NDArray[np.bool_] | None) -> Sample:
    """A whole sample; without a mask every token is learnt."""
    whole = np.asarray(ids, np.int32)
    labels = whole.copy() if mask is None else np.where(mask, whole, np.int32(IGNORED)).astype(np.int32)
    labels[:1] = IGNORED
    return Sample(whole, labels, cut=False)


def _fitted(sample: Sample, max_length: int, overlong: Overlong, is_text: bool) -> Iterator[Sample]:
    if len(sample.ids) <= max_length:
        yield sample
    elif overlong == "cut":
        yield Sample(sample.ids[:max_length], sample.labels[:max_length], cut=True)
    elif overlong == "split" and is_text:
        for start in range(0, len(sample.ids), max_length):
            labels = sample.labels[start : start + max_length].copy()
            labels[:1] = IGNORED
            yield Sample(sample.ids[start : start + max_length], labels, cut=False)
    else:
        yield replace(sample, ids=sample.ids[:0], labels=sample.labels[:0], cut=True)
