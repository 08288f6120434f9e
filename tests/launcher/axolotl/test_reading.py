"""Reading a recipe: YAML 1.2 as people mean it, and refusals that name the line."""

from pathlib import Path

import pytest

from launcher.axolotl.reading import read
from launcher.errors import InputError


def write(folder: Path, text: str | bytes) -> str:
    file = folder / "axolotl.yml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(file)


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("2e-5", 2e-5),
        ("1E-4", 1e-4),
        (".5", 0.5),
        ("5.", 5.0),
        ("-3", -3),
        ("0o17", 15),
        ("0x1F", 31),
        ("017", 17),
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2024-01-31", "2024-01-31"),
        ("~", None),
        ("", None),
        ("'2e-5'", "2e-5"),
        (".inf", float("inf")),
    ],
)
def test_scalars_are_those_of_yaml_1_2(typed: str, value: object, tmp_path: Path) -> None:
    found = read(write(tmp_path, f"key: {typed}\n")).values["key"]
    assert (found, type(found)) == (value, type(value))


def test_every_key_has_its_line(tmp_path: Path) -> None:
    source = read(write(tmp_path, "a: 1\nb:\n  - c: 2\n    d:\n      e: 3\n"))
    assert source.lines == {"a": 1, "b": 2, "b[0]": 3, "b[0].c": 3, "b[0].d": 4, "b[0].d.e": 5}
    assert source.line("x") is None


def test_merges_and_aliases(tmp_path: Path) -> None:
    source = read(write(tmp_path, "base: &b {x: 1, y: 2}\nown: {<<: *b, y: 3}\nlist: [*b, *b]\n"))
    assert source.values["own"] == {"x": 1, "y": 3}
    assert source.values["list"] == [{"x": 1, "y": 2}] * 2


def test_keys_that_are_no_text_are_spelt(tmp_path: Path) -> None:
    assert read(write(tmp_path, "1: a\ntrue: b\n")).values == {"1": "a", "true": "b"}


def test_the_same_twice_is_no_harm(tmp_path: Path) -> None:
    assert read(write(tmp_path, "a: 1\nb: 2\na: 1\n")).repeated == {"a": 3}


@pytest.mark.parametrize(
    ("text", "line", "piece"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "a stands twice with different values, in lines 1 and 3"),
        ("a:\n  x: 1\n  x: 2\n", 3, "a.x stands twice"),
        ("a:\n\tb: 1\n", 2, "a tab indents this line"),
        ("", 1, "the file is empty"),
        ("# nothing\n", 1, "the file is empty"),
        ("- a\n", 1, "the file holds a list"),
        ("word\n", 1, "the file holds a single value"),
        ("a: 1\n---\nb: 2\n", 3, "a second document"),
        ("a: [1\nb: 2\n", 2, "this is no YAML"),
        ("a: !!python/name:os.system x\n", 1, "the tag"),
        ("a: &x [*x]\n", 1, "refers to what it stands in"),
        ("? [1, 2]\n: b\n", 1, "a key must be text"),
        ("<<: 3\n", 1, "`<<` takes a mapping"),
        (b"a: \xff\n", 1, "byte 0xff is not UTF-8"),
        ("a: " + "[" * 60 + "]" * 60, 1, "nested too deeply"),
        ("a: " + "[" * 5000, 1, ""),
        ("a: !!int many\n", 1, "'many' is no int"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(text: str | bytes, line: int, piece: str, tmp_path: Path) -> None:
    file = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        read(file)
    assert caught.value.message.startswith(f"{file}:{line}: ")
    assert piece in caught.value.message


def test_aliases_that_multiply_are_refused(tmp_path: Path) -> None:
    text = "a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8]\n"
    text += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]\n" for n in range(1, 9))
    with pytest.raises(InputError, match="more than 20000 values"):
        read(write(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        read(str(tmp_path / "none.yml"))
    with pytest.raises(InputError, match="cannot be read"):
        read(str(tmp_path))
