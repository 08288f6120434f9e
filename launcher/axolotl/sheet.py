"""The sheet of an import: what the recipe says, what was found out about each of its keys, what the new recipe sets."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from launcher.axolotl.reading import Source

Status = Literal["mapped", "equivalent default", "needs a decision", "not supported", "not supported yet"]
REFUSED: tuple[Status, ...] = ("not supported", "not supported yet")

_TRUE = ("true", "yes", "on", "y", "t", "1")
_FALSE = ("false", "no", "off", "n", "f", "0")


@dataclass(frozen=True)
class Finding:
    """What became of one key."""

    key: str
    """Its place, as `datasets[0].type`."""
    value: Any
    line: int | None
    status: Status
    to: str = ""
    """Fields of the new recipe that it went to, as `adapter.r`."""
    why: str = ""


class Sheet:
    """One import on its way. Areas take keys from it, say what became of each, and set fields."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.places = dict(flatten(source.values))
        """Every key by its place, those within lists and mappings included."""
        self.findings: dict[str, Finding] = {}
        self.fields: dict[str, Any] = {}
        """Fields of the new recipe, dotted path -> value."""
        self.choices: dict[str, str] = {}
        """Options of the new recipe's defaults list, group -> option."""
        self.devices = 1
        """Devices that the recipe makes sense on at least."""

    # -- reading ---------------------------------------------------------------------------------------------------

    def raw(self, key: str) -> Any:
        """The value of a key; None where it is missing or empty."""
        value = self.places.get(key)
        return None if is_empty(value) else value

    def text(self, key: str) -> str | None:
        """A key that is text; numbers are spelt."""
        value = self.raw(key)
        if value is None or isinstance(value, str):
            return value.strip() if isinstance(value, str) else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        self._wrong(key, "text")
        return None

    def flag(self, key: str) -> bool | None:
        """A key that is true or false in any of the spellings that Axolotl takes (`yes`, `on`, `"true"`, 1)."""
        value = self.raw(key)
        if value is None or isinstance(value, bool):
            return value
        word = str(value).strip().lower() if isinstance(value, str | int | float) else ""
        if word in _TRUE or word == "1.0":
            return True
        if word in _FALSE or word in ("0.0", "none", "null"):
            return False
        self._wrong(key, "true or false")
        return None

    def number(self, key: str, least: float = -math.inf) -> float | None:
        """A key that is a number, in quotes or not."""
        value = self.raw(key)
        if value is None:
            return None
        try:
            found = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            found = math.nan
        if not math.isfinite(found):
            self._wrong(key, "a number")
        elif found < least:
            self._wrong(key, f"a number of at least {least:g}")
        else:
            return found
        return None

    def whole(self, key: str, least: int = 0) -> int | None:
        """A key that is a whole number, in quotes or not."""
        found = self.number(key)
        if found is None:
            return None
        if found != int(found) or found < least:
            self._wrong(key, f"a whole number of at least {least}")
            return None
        return int(found)

    def words(self, key: str) -> list[str] | None:
        """A key that is a list of text; one text is a list of one."""
        value = self.raw(key)
        if value is None:
            return None
        found = value if isinstance(value, list) else [value]
        if any(not isinstance(word, str | int | float) or isinstance(word, bool) for word in found):
            self._wrong(key, "a list of text")
            return None
        return [str(word) for word in found]

    def within(self, key: str) -> list[str]:
        """Places directly within a mapping."""
        value = self.places.get(key)
        return [f"{key}.{name}" for name in value] if isinstance(value, dict) else []

    # -- findings --------------------------------------------------------------------------------------------------

    def mapped(self, key: str, to: str, why: str = "") -> None:
        """The key went to fields of the new recipe."""
        self._find(key, "mapped", to, why)

    def same(self, key: str, why: str) -> None:
        """The key says what holds anyway, or has no effect on the result."""
        self._find(key, "equivalent default", "", why)

    def decide(self, key: str, why: str) -> None:
        """A person must say what is wanted; the weights do not hang on it."""
        self._find(key, "needs a decision", "", why)

    def refuse(self, key: str, why: str, yet: bool = False) -> None:
        """The key asks for what is not there. This stands above whatever else was said of the key."""
        self._find(key, "not supported yet" if yet else "not supported", "", why)

    def known(self, key: str) -> bool:
        """Whether something was said of a key."""
        return key in self.findings

    def refused(self) -> list[Finding]:
        """What stands in the way of an import, in the order of the file."""
        findings = (self.findings[key] for key in self.places if key in self.findings)
        return [finding for finding in findings if finding.status in REFUSED]

    def _find(self, key: str, status: Status, to: str, why: str) -> None:
        before = self.findings.get(key)
        if key not in self.places or (before is not None and before.status in REFUSED):
            return
        self.findings[key] = Finding(key, self.places[key], self.source.line(key), status, to, why)

    def _wrong(self, key: str, what: str) -> None:
        self.refuse(key, f"{shown(self.places[key])} must be {what}: Axolotl refuses it too")

    # -- the new recipe --------------------------------------------------------------------------------------------

    def set(self, path: str, value: Any) -> None:
        """Set a field of the new recipe."""
        self.fields[path] = value

    def put(self, key: str, path: str, value: Any, why: str = "") -> None:
        """Set a field, and say that the key went there."""
        self.set(path, value)
        self.mapped(key, path, why)


def is_empty(value: Any) -> bool:
    """Whether a value says nothing: null, "", an empty list or mapping."""
    return value is None or value == "" or value == [] or value == {}


def is_off(value: Any) -> bool:
    """Whether a value switches something off."""
    return (
        is_empty(value) or value is False or value == 0 or str(value).strip().lower() in ("false", "no", "off", "none")
    )


def flatten(values: dict[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """Every key with its value, outer ones first; items of lists that hold mappings are keys too."""
    for name, value in values.items():
        inner = f"{place}.{name}" if place else name
        yield inner, value
        yield from _within(inner, value)


def _within(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from flatten(value, place)
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for position, item in enumerate(value):
            yield f"{place}[{position}]", item
            yield from _within(f"{place}[{position}]", item)


def shown(value: Any) -> str:
    """A value as the report shows it, on one line, cut where it is long."""
    text = {None: "null", True: "true", False: "false"}.get(value) if isinstance(value, bool | None) else str(value)
    text = " ".join(str(text).split())
    return text if len(text) <= 60 else text[:57] + "..."
