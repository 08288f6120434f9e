"""Whole recipes through the command: the fields of the new one, the fate of keys, the exit code.

Each `recipes/NAME.yml` is a recipe; `NAME.expect.yaml` beside it holds what must come of it: `exit`, `recipe` (dotted
path -> value), `absent` (paths that must not be set), `effective`, `keys` (key -> status and a piece of the reason)."""

import json
from pathlib import Path
from typing import Any

import pytest

from launcher.axolotl.reading import read
from launcher.axolotl.sheet import flatten
from launcher.cli import main
from launcher.resolve import resolve
from launcher.yaml_files import read_values

RECIPES = Path(__file__).parent / "recipes"
NAMES = sorted(path.stem for path in RECIPES.glob("*.yml"))


def at(tree: Any, path: str) -> Any:
    """The value at a dotted path; KeyError where there is none."""
    for part in path.split("."):
        tree = tree[part]
    return tree


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_comes_out_as_expected_and_runs(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = read_values(RECIPES / f"{name}.expect.yaml")
    file, written = RECIPES / f"{name}.yml", tmp_path / "new.yaml"
    monkeypatch.chdir(tmp_path)
    code = main(["import", str(file), "-o", str(written), "--json"])
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert code == expected["exit"] == document["exit_code"], said.err
    recipe = document["recipe"]
    assert {path: at(recipe, path) for path in expected.get("recipe", {})} == expected.get("recipe", {})
    for path in expected.get("absent", []):
        with pytest.raises(KeyError):
            at(recipe, path)
    effective = document["effective"]
    assert {path: effective[path] for path in expected.get("effective", {})} == expected.get("effective", {})
    keys = {record["key"]: record for record in document["keys"]}
    for key, (status, piece) in expected.get("keys", {}).items():
        assert keys[key]["status"] == status, (key, keys[key])
        assert piece in (keys[key]["why"] or ""), (key, keys[key])
    assert set(dict(flatten(read(str(file)).values))) <= keys.keys()
    assert expected.get("command", "") in document["command"]
    assert expected.get("hidden", "\0") not in said.out + said.err
    assert written.exists() == (code == 0)
    if code == 0:
        _runs(written, document["command"])


def _runs(written: Path, command: str) -> None:
    """The command that was printed composes and validates; empty files stand for rows that are elsewhere."""
    data = read_values(written)["data"]
    words = command.removeprefix("python -m launcher ").split()
    for rows in [*data.get("sets", []), *data.get("eval_sets", []), data]:
        if rows.get("source") == "file" and rows.get("path"):
            place = Path(rows["path"])
            if place.is_absolute():
                place = written.parent / "rows.jsonl"
                words.append(f"data.path={place}")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text('{"text": "a"}\n')
    assert resolve(words).config.data.digest or data["source"] == "hub"


def test_there_are_at_least_thirty_of_them() -> None:
    assert len(NAMES) >= 30
