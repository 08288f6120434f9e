"""format=tokens: rows that are tokenised already, as numbers of tokens and which of them are learnt.

The keys and their meaning are those of transformers' models: `input_ids`; `labels` of the same length, with -100 where
nothing is learnt; `attention_mask`, 0 where a number only fills the row up. Axolotl takes rows with all three as they
are (src/axolotl/utils/data/wrappers.py of github.com/axolotl-ai-cloud/axolotl)."""

from typing import Any

from trainer.data.rows import BadRow, Row
from trainer.data.wording import named, shown

NOT_LEARNT = -100
"""Label of a token that is not learnt."""


def token_row(value: dict[str, Any], highest: int | None) -> Row:
    """The row of a value, without what fills it up; every token is learnt where it has no `labels`.

    `highest` is the highest number that the tokenizer has for a token; None: not checked. Raises BadRow.
    """
    ids = _numbers(value, "input_ids")
    for place, number in enumerate(ids):
        if number < 0 or (highest is not None and number > highest):
            known = f"0 to {highest}" if highest is not None else "0 or above"
            raise BadRow(
                f"`input_ids[{place}]` is {number}, and the tokenizer's numbers are {known}: give rows of this model's "
                "tokenizer, or the tokens that it lacks in model.added_tokens"
            )
    mask = None if value.get("labels") is None else _learnt(_numbers(value, "labels", len(ids)), ids)
    first, last = (0, len(ids)) if value.get("attention_mask") is None else _filled(value, len(ids))
    if mask is not None and (any(mask[:first]) or any(mask[last:])):
        place = next(place for place, learnt in enumerate(mask) if learnt and not first <= place < last)
        raise BadRow(f"`labels[{place}]` is learnt though `attention_mask[{place}]` is 0: give -100 there")
    return Row(tokens=tuple(ids[first:last]), learn=None if mask is None else tuple(mask[first:last]))


def _numbers(value: dict[str, Any], key: str, length: int | None = None) -> list[int]:
    found = value.get(key)
    if not isinstance(found, list) or not found:
        raise BadRow(f"`{key}` is {named(found)}: give an array of whole numbers, or another data.format")
    for place, number in enumerate(found):
        if type(number) is not int:
            raise BadRow(f"`{key}[{place}]` is {shown(number)}: give a whole number")
    if length is not None and len(found) != length:
        raise BadRow(f"`{key}` has {len(found)} numbers and `input_ids` {length}: give one for each token")
    return found


def _learnt(labels: list[int], ids: list[int]) -> list[bool]:
    for place, (label, number) in enumerate(zip(labels, ids, strict=True)):
        if label not in (number, NOT_LEARNT):
            raise BadRow(
                f"`labels[{place}]` is {label} where `input_ids[{place}]` is {number}: a label is the token itself, "
                "not the next one, or -100 where it is not learnt"
            )
    return [label != NOT_LEARNT for label in labels]


def _filled(value: dict[str, Any], length: int) -> tuple[int, int]:
    """Where the row begins and ends between what fills it up."""
    mask = _numbers(value, "attention_mask", length)
    if 1 not in mask:
        raise BadRow("`attention_mask` has no 1: nothing of the row is seen")
    first, last = mask.index(1), length - mask[::-1].index(1)
    for place, seen in enumerate(mask):
        if seen != (first <= place < last):
            raise BadRow(
                f"`attention_mask[{place}]` is {seen}: give 1 for each token, and 0 for what fills the row up at its "
                "ends"
            )
    return first, last
