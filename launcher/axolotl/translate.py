"""The whole way of an import: every area takes its keys, what is left is judged, and the new recipe is tried out."""

import difflib
import re

from launcher.axolotl import adapters, base_model, intervals, layout, numerics, others, rows, tokens, tracking, training
from launcher.axolotl.known import KEYS, SET_KEYS
from launcher.axolotl.reading import Source
from launcher.axolotl.sheet import Finding, Sheet, Status, is_empty, is_off

_SLIP = 0.88
"""How near a key must be to one that Axolotl knows to be taken for a slip of the pen."""
_HARMLESS = re.compile(
    r"(wandb|mlflow|comet|trackio|swanlab|gradio|ray|otel|hub|push|save|saves|eval|evals|generation|profiler|ddp|dataloader|"
    r"dataset_prepared|dataset_num|dataset_keep|output|logging|include|torch_compile|telemetry|lm_eval|tokenizer_save)_"
)
"""Keys that no weight hangs on: a slip in one of them stops nobody."""
_SETS = ("datasets[", "test_datasets[", "pretraining_dataset")


def translate(source: Source) -> Sheet:
    """Everything that is said in a recipe, in the words of this tool, and what became of each of its keys."""
    sheet = Sheet(source)
    weights = base_model.take(sheet)
    tokens.take(sheet, weights)
    kind = adapters.take(sheet, weights)
    rows.take(sheet, weights)
    training.take(sheet)
    layout.take(sheet)
    numerics.take(sheet, kind)
    intervals.take(sheet)
    tracking.take(sheet)
    others.take(sheet)
    _rest(sheet)
    return sheet


def _rest(sheet: Sheet) -> None:
    """Judge the keys that no area took: empty ones, parts of what was taken whole, unknown ones."""
    for key, value in sheet.places.items():
        if sheet.known(key) or _is_mapping_of_keys(value):
            continue
        above = _above(sheet, key)
        if is_empty(value):
            sheet.same(key, "empty: what holds anyway holds")
        elif above is not None:
            sheet.findings[key] = Finding(key, value, sheet.source.line(key), above.status, above.to, above.why)
        else:
            _unknown(sheet, key)
    for key in reversed(sheet.places):
        if not sheet.known(key):
            _whole(sheet, key)


def _is_mapping_of_keys(value: object) -> bool:
    return (isinstance(value, dict) and bool(value)) or (
        isinstance(value, list) and any(isinstance(item, dict | list) for item in value)
    )


def _above(sheet: Sheet, key: str) -> Finding | None:
    """What was said of the mapping or list that a key stands in, as a whole."""
    while True:
        key = max(key.rpartition(".")[0], key.rpartition("[")[0], key=len)
        if not key:
            return None
        if key in sheet.findings:
            return sheet.findings[key]


def _unknown(sheet: Sheet, key: str) -> None:
    """A key that no area took. Axolotl passes over what it does not know, so nothing of it holds there either; where it
    looks like a slip of the pen, a person meant something by it, and must say what."""
    name = key.rpartition(".")[2]
    top = key == name
    if top and key in KEYS:
        if is_off(sheet.places[key]):
            sheet.same(key, "switched off")
        else:
            sheet.refuse(key, "there is nothing like it here")
        return
    meant = KEYS if top else SET_KEYS if key.startswith(_SETS) else frozenset()
    free = [known for known in meant if key.removesuffix(name) + known not in sheet.places]
    near = difflib.get_close_matches(name, free, n=1, cutoff=_SLIP)
    if near and not is_empty(sheet.places[key]) and not _HARMLESS.match(near[0]):
        sheet.refuse(key, f"Axolotl does not know this key either, it ignores it; did you mean {near[0]}?")
    elif is_off(sheet.places[key]):
        sheet.same(key, "Axolotl does not know this key and ignores it; it is switched off")
    else:
        sheet.decide(key, "Axolotl does not know this key and ignores it, and so does the new recipe: take it out")


_ORDER: tuple[Status, ...] = ("not supported", "not supported yet", "needs a decision", "equivalent default", "mapped")


def _whole(sheet: Sheet, key: str) -> None:
    """A mapping or list of keys is what the best of its parts is; each part has a line of its own."""
    parts = [finding for place, finding in sheet.findings.items() if place.startswith((key + ".", key + "["))]
    if not parts:
        sheet.same(key, "empty: what holds anyway holds")
        return
    status = max((part.status for part in parts), key=_ORDER.index)
    to = ", ".join(dict.fromkeys(field for part in parts for field in part.to.split(", ") if field))
    sheet.findings[key] = Finding(
        key, sheet.places[key], sheet.source.line(key), status, to, "its parts are listed below"
    )
