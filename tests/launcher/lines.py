"""Random command lines built from the schema itself: fields with values that their types take and with values that they
do not, options of every group, typos, and text that nobody would type."""

import itertools
import string
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from conf.schema.fields import alternatives, fields, group_of, item_fields, item_of, values_of
from launcher.grammar import quoted
from launcher.options import groups, options

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
PLAIN = st.text(string.ascii_letters + string.digits + "_./:@%+-", min_size=1, max_size=12)
VALUES = [path for path, info in fields().items() if group_of(info.annotation) is None]
COMBINATIONS = 48
"""How many combinations of options are used: each costs one composition."""


def combinations(rows: Path) -> list[list[str]]:
    """Options of every group, each of them in some combination; recipes by themselves. `rows` is a file of rows."""
    needs = {
        "data=file": f"data.path={rows}", "data=hub": "data.path=owner/name",
        "data=sets": f"data.sets=[{{path: {rows}}}]",
        "recipe=pretrain_continued": f"data.path={rows}",
    }  # fmt: skip
    listed = {
        name: itertools.cycle(options(name)) for name in groups() if name not in ("gpu", "recipe", "model", "cluster")
    }
    models = itertools.cycle(["smollm2_135m", "llama3_8b", "qwen2_5_7b", "qwen3_4b", "gemma2_2b"])
    clusters = itertools.cycle(["local", "8xh100", "1xa100_80", "2x8xh100", "4xl40s", "2x1xh200", "2x8xmi300x"])
    found = []
    for number in range(COMBINATIONS):
        words = [f"model={next(models)}", f"+cluster={next(clusters)}"]
        # Most lines leave most groups alone: one group of the rest is named, every fourth time two.
        for name in list(itertools.islice(itertools.cycle(listed), number, number + (2 if number % 4 == 0 else 1))):
            words.append(f"{name}={next(listed[name])}")
        found.append(words)
    found += [[f"recipe={name}"] for name in options("recipe")]
    return [[*words, *(needs[word] for word in words if word in needs)] for words in found]


def valid(path: str, info: FieldInfo) -> st.SearchStrategy[str]:
    """A word that gives a field a value of its type."""
    return st.one_of(*(_spelled(path, strategy) for strategy in _of_type(path, info.annotation, info.metadata)))


def invalid(path: str, info: FieldInfo) -> st.SearchStrategy[str]:
    """A word that gives a field what its type seldom takes."""
    wrong = [
        "-1",
        "0",
        "1.5",
        "nan",
        "inf",
        "[1,2]",
        "{a: 1}",
        "[{pth: 1}]",
        "nul",
        "1e400",
        "-0.0",
        "10" * 20,
        "[",
        "???",
    ]
    near = [
        str(choice) + "x"
        for part in alternatives(info.annotation)
        for choice in get_args(part)
        if isinstance(choice, str)
    ]
    return st.sampled_from([*wrong, *near]).map(lambda text: f"{path}={text}")


def typo(word: str, place: int, letter: str) -> str:
    """A word with one letter of its key or option wrong."""
    place %= max(1, len(word))
    return word[:place] + letter + word[place + 1 :]


@st.composite
def lines(draw: st.DrawFn, combos: list[list[str]]) -> list[str]:
    """One line: a combination of options, and a few words."""
    words = list(draw(st.sampled_from(combos)))
    kind = draw(st.sampled_from(["plain", "plain", "one", "one", "one", "one", "few", "wrong", "typo", "raw"]))
    if kind in ("one", "few"):
        for _ in range(1 if kind == "one" else draw(st.integers(2, 4))):
            path = draw(st.sampled_from(VALUES))
            words.append(draw(valid(path, fields()[path])))
    elif kind == "wrong":
        path = draw(st.sampled_from(VALUES))
        words.append(draw(invalid(path, fields()[path])))
    elif kind == "typo":
        whole = draw(st.sampled_from([*words, *(f"{path}=1" for path in VALUES)]))
        words.append(typo(whole, draw(st.integers(0, 40)), draw(st.sampled_from("abz_.=+~/@0"))))
    elif kind == "raw":
        path = draw(st.sampled_from([*VALUES, *groups(), ""]))
        form = draw(
            st.sampled_from(["{text}", "{path}={text}", "+{path}={text}", "~{path}", "~{path}={text}", "{text}={path}"])
        )
        words.append(form.format(path=path, text=draw(TEXT)))
    return words


def _spelled(path: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    return values.map(lambda value: f"{path}={_spell(value)}")


def _spell(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ",".join(map(_inner, value)) + "]"
    return (
        "{" + ",".join(f"{key}: {_inner(part)}" for key, part in value.items()) + "}"
        if isinstance(value, dict)
        else ("null" if value is None else str(value).lower() if isinstance(value, bool) else str(value))
    )


def _inner(value: Any) -> str:
    """A value within a list or a mapping: text is in quotes there, or it would be a number."""
    return quoted(value) if isinstance(value, str) else _spell(value)


def _of_type(path: str, annotation: Any, metadata: list[Any]) -> Iterator[st.SearchStrategy[Any]]:
    item = item_of(annotation)
    if item is not None:
        yield _items(path)
        return
    for part in alternatives(annotation):
        origin = get_origin(part)
        if origin is Annotated:
            inner, *limits = get_args(part)
            yield from _of_type(path, inner, [*metadata, *limits])
        elif part is NoneType:
            yield st.none()
        elif origin is Literal:
            yield st.sampled_from(get_args(part))
        elif origin is list:
            (inner,) = get_args(part)
            yield st.lists(st.one_of(*_of_type(path, inner, [])), max_size=3)
        elif origin is dict:
            keys = st.text(string.ascii_uppercase, min_size=1, max_size=5)
            yield st.dictionaries(keys, st.one_of(*_of_type(path, values_of(part), [])), max_size=2)
        elif part is bool:
            yield st.booleans()
        else:
            yield _scalar(part, metadata)


def _scalar(kind: type, metadata: list[Any]) -> st.SearchStrategy[Any]:
    low: Any = next((limit.gt for limit in metadata if isinstance(limit, Gt)), None)
    floor: Any = next((limit.ge for limit in metadata if isinstance(limit, Ge)), None)
    high: Any = next((limit.lt for limit in metadata if isinstance(limit, Lt)), None)
    roof: Any = next((limit.le for limit in metadata if isinstance(limit, Le)), None)
    if kind is int:
        first = low + 1 if low is not None else floor if floor is not None else -9
        return st.integers(int(first), int(first) + 300)
    if kind is float:
        bottom, top = low if low is not None else floor, high if high is not None else roof
        return st.floats(
            float(bottom if bottom is not None else -10.0), float(top if top is not None else 10.0),
            exclude_min=low is not None, exclude_max=high is not None, allow_nan=False,
        )  # fmt: skip
    pattern = next((limit.pattern for limit in metadata if getattr(limit, "pattern", None)), None)
    return st.from_regex(pattern, fullmatch=True) if pattern else st.one_of(PLAIN, PLAIN, TEXT)


def _items(path: str) -> st.SearchStrategy[Any]:
    """A list of sets of fields, each with a few of its fields."""
    head = f"{path}[]."
    inner = {name.removeprefix(head): info for name, info in item_fields().items() if name.startswith(head)}
    parts = {name: st.one_of(*_of_type(name, info.annotation, info.metadata)) for name, info in inner.items()}
    some = st.sampled_from(sorted(parts)).flatmap(lambda name: parts[name].map(lambda value: {name: value}))
    return st.lists(some, max_size=2)
