"""Which files a path means, and the digest of a run's rows: by content, cheap where they are streamed."""

import os
from pathlib import Path
from typing import Any

import pytest

from conf.schema.derive import derive
from conf.schema.identity import identity, identity_digest
from conf.schema.rows import SAMPLE, RowsMissing, row_files
from conf.schema.run import RunConfig


def made(data: dict[str, Any]) -> RunConfig:
    return derive(RunConfig.model_validate({"data": {"source": "file"} | data}))


def digest(**data: Any) -> str | None:
    return made(data).data.digest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jsonl", "a.jsonl", "part/c.jsonl"):
        (tmp_path / "rows" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "rows" / name).write_text(name)
    return tmp_path / "rows"


def test_a_file_a_folder_a_pattern(folder: Path) -> None:
    names = [str(folder / name) for name in ("a.jsonl", "b.jsonl", "part/c.jsonl")]
    assert row_files(names[0]) == names[:1]
    assert row_files(str(folder)) == names
    assert row_files(str(folder / "*.jsonl")) == names[:2]
    assert row_files(str(folder / "**" / "*.jsonl")) == names
    assert row_files(str(folder), ["b.jsonl", "part/*"]) == names[1:]
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "d.jsonl").touch()
    assert row_files(str(folder)) == names


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        ("none.jsonl", [], "there is no file .*none.jsonl"),
        ("*.csv", [], "no file is named like"),
        (".", ["x.jsonl"], "has no file x.jsonl: see data.files"),
        ("part/../a.md", [], "is none of .jsonl, .json, .parquet, .arrow, .csv, .txt"),
        ("empty", [], "has no file of rows"),
    ],
)
def test_what_is_no_file_of_rows_is_named(folder: Path, name: str, files: list[str], message: str) -> None:
    (folder / "a.md").touch()
    (folder / "empty").mkdir()
    with pytest.raises(RowsMissing, match=message):
        row_files(str(folder / name), files)


def test_a_file_that_may_not_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(RowsMissing, match="may not be read by you"):
        row_files(str(folder / "a.jsonl"))


def test_the_digest_is_of_contents_not_of_places(folder: Path) -> None:
    one = digest(path=str(folder / "a.jsonl"))
    assert one is not None
    (folder / "copy.jsonl").write_text("a.jsonl")
    assert digest(path=str(folder / "copy.jsonl")) == one
    both = digest(path=str(folder / "[ab].jsonl"))
    assert both not in (None, one, digest(path=str(folder / "a.jsonl"), eval_path=str(folder / "b.jsonl")))
    sets = [{"path": str(folder / "a.jsonl")}, {"path": str(folder / "b.jsonl")}]
    assert digest(source="sets", sets=sets) != digest(source="sets", sets=sets[::-1])
    moved = [sets[0] | {"path": str(folder / "copy.jsonl")}, sets[1]]
    before, after = (made({"source": "sets", "sets": each}) for each in (sets, moved))
    assert identity_digest(before) == identity_digest(after)
    assert digest(source="sets", sets=[{"path": str(folder / "none.jsonl")}]) is None


def test_held_out_sets_count(folder: Path) -> None:
    alone = digest(path=str(folder / "a.jsonl"))
    held = digest(path=str(folder / "a.jsonl"), eval_sets=[{"path": str(folder / "b.jsonl")}])
    assert alone != held
    assert held == digest(path=str(folder / "a.jsonl"), eval_path=str(folder / "b.jsonl"))


def test_a_dataset_of_the_hub_is_its_name(folder: Path) -> None:
    names: list[dict[str, Any]] = [{}, {"path": "o/m"}, {"subset": "en"}, {"split": "test"}, {"revision": "v1"}]
    found = [digest(**{"source": "hub", "path": "o/n"} | name) for name in names]
    assert None not in found
    assert len(set(found)) == len(found)
    assert made({"source": "hub", "path": "o/n"}).data.path == "o/n"


def test_a_streamed_file_is_known_by_its_ends_and_its_size(folder: Path) -> None:
    large = folder / "large.jsonl"

    def of(content: bytes) -> str | None:
        large.write_bytes(content)
        return digest(path=str(large), streaming=True)

    first = of(b"a" * SAMPLE * 3)
    assert of(b"a" * SAMPLE + b"b" * SAMPLE + b"a" * SAMPLE) == first, "the middle is not read"
    assert len({first, of(b"b" + b"a" * (SAMPLE * 3 - 1)), of(b"a" * (SAMPLE * 3 - 1) + b"b"), of(b"a" * SAMPLE)}) == 4


def test_the_identity_has_what_differs_of_each_set(folder: Path) -> None:
    sets = [{"path": str(folder / "a.jsonl"), "format": "text", "limit": 3}, {"source": "hub", "path": "o/n"}]
    found = identity(made({"source": "sets", "sets": sets}))
    assert found["data.sets"] == [{"format": "text", "limit": 3}, {"source": "hub"}]


def test_paths_become_absolute(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    data = made({"source": "sets", "sets": [{"path": "a.jsonl"}], "eval_sets": [{"path": "b.jsonl"}]}).data
    assert (data.sets[0].path, data.eval_sets[0].path) == (str(folder / "a.jsonl"), str(folder / "b.jsonl"))
    assert derive(RunConfig(data=data)).data == data
