"""From rows to token ids and labels: a label is the token's own id where it is learnt, IGNORED elsewhere."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.chat import Renderer, TemplateError
from trainer.data.rows import Row

IGNORED = -100
"""Label of a token that is not learnt: what torch's cross entropy leaves out."""
BATCH = 512
"""Rows tokenised in one call."""
Ids = NDArray[np.int32]


@dataclass(frozen=True)
class Sample:
    """One row as tokens: two arrays of one length."""

    ids: Ids
    labels: Ids
    cut: bool
    """Whether the row was longer than data.max_length."""

    @property
    def trained(self) -> int:
        """Tokens that are learnt."""
        return int((self.labels != IGNORED).sum())


def label_rows(rows: Sequence[Row], tokenizer: Any, max_length: int) -> Iterator[Sample]:
    """One sample for each row, in order, cut at `max_length` tokens; some may have nothing left to learn.

    Of a conversation the answers are learnt, each with the token that ends its turn; of plain text everything, with
    an end token after it. The first token has nothing to be predicted from and is never learnt. Raises TemplateError,
    which names the row.
    """
    renderer = Renderer(tokenizer) if any(row.text is None for row in rows) else None
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        if renderer is None:
            yield from _plain([row.text or "" for row in batch], tokenizer, max_length)
            continue
        rendered = []
        for number, row in enumerate(batch, start=start + 1):
            try:
                rendered.append(renderer.render(row.messages))
            except TemplateError as error:
                raise TemplateError(f"row {number}: {error}") from error
        encoded = tokenizer(
            [item.text for item in rendered],
            add_special_tokens=False,  # the template has written them
            return_offsets_mapping=True,
            return_attention_mask=False,
            verbose=False,
        )
        for item, ids, offsets in zip(rendered, encoded["input_ids"], encoded["offset_mapping"], strict=True):
            yield _sample(ids, learnt(np.asarray(offsets, np.int64).reshape(-1, 2), item.answers), max_length)


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


def _plain(texts: list[str], tokenizer: Any, max_length: int) -> Iterator[Sample]:
    for ids in tokenizer(texts, return_attention_mask=False, verbose=False)["input_ids"]:
        if not ids or ids[-1] != tokenizer.eos_token_id:
            ids = [*ids, tokenizer.eos_token_id]
        yield _sample(ids, np.ones(len(ids), np.bool_), max_length)


def _sample(ids: Sequence[int], mask: NDArray[np.bool_], max_length: int) -> Sample:
    whole = np.asarray(ids, np.int32)
    labels = np.where(mask, whole, np.int32(IGNORED)).astype(np.int32)
    labels[:1] = IGNORED
    return Sample(whole[:max_length], labels[:max_length], len(whole) > max_length)
