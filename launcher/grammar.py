"""Hydra's override grammar: reading one word, and spelling a value so that the grammar reads it back."""

from functools import cache, lru_cache
from types import NoneType
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from conf.schema.fields import alternatives


@cache
def _parser() -> OverridesParser:
    return OverridesParser.create()


@lru_cache(maxsize=2**16)
def parse(word: str) -> Override | str:
    """The word as Hydra reads it, or its complaint. The same object each time: leave it as it is."""
    try:
        return _parser().parse_override(word)
    except HydraException as error:
        return str(error).split("\n")[0].partition(" expecting ")[0] or "Hydra's grammar does not know it"


def is_sweep(parsed: Override | str) -> bool:
    """Whether a word gives several values."""
    return isinstance(parsed, Override) and parsed.is_sweep_override()


def text_of(parsed: Override | str, raw: str, annotation: Any) -> str | None:
    """What a text field gets: quoted text without its quotes, null as None, anything else as typed."""
    if isinstance(parsed, str):
        return raw
    inner = parsed._value
    if isinstance(inner, QuotedString):
        return str(inner.text)
    if inner is None and NoneType in alternatives(annotation):
        return None
    # An escaped comma or bracket is Hydra's way to write it unquoted.
    return inner if isinstance(inner, str) and "\\" in raw else raw


def spell(path: str, raw: str, value: Any) -> str:
    """The value as typed where Hydra's grammar reads the same from it, else in quotes."""
    if not isinstance(value, str):
        return raw
    parsed = parse(f"{path}={raw}")
    if isinstance(parsed, Override) and not parsed.is_sweep_override() and parsed.value() == value:
        return raw
    return quoted(value)


def quoted(text: str) -> str:
    """Text in quotes that the grammar takes off again."""
    return str(QuotedString(text=text, quote=Quote.single).with_quotes())
