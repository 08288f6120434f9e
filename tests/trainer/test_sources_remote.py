"""Files behind addresses: brought into the store once, proved, found there when nothing is reached."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conf.schema.model import ModelConfig
from tests.hub.repository import Repository
from tests.hub.server import Hub, serving
from trainer.sources.download import NoSpace
from trainer.sources.errors import ModelUnavailable, SourceUnavailable
from trainer.sources.remote import bring
from trainer.sources.resolve import resolve
from trainer.store import Entry, Store

ROWS = b'{"text": "a row"}\n' * 20_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A server of plain files: the part of the hub that large files are redirected to."""
    monkeypatch.setattr("trainer.sources.download.PAUSE", 0.0)
    with serving() as found:
        found.add("org/rows", Repository({"rows.jsonl": ROWS}))
        yield found


def rows(store: Store, address: str, offline: bool = False) -> Entry:
    return bring("rows", address, store, offline, lambda names: names)


def test_a_file_of_a_web_server_goes_on_where_it_was_cut(store: Store, hub: Hub) -> None:
    address = f"{hub.url}/cdn/org/rows/rows.jsonl"
    hub.cut_after = [70_000]
    entry = rows(store, address)
    assert (entry.path / "rows.jsonl").read_bytes() == ROWS
    assert hub.fetched("rows.jsonl")[-1].endswith(" bytes=70000-")
    asked = len(hub.asked)
    assert rows(store, address, offline=True) == entry
    assert len(hub.asked) == asked


def test_a_file_that_has_changed_is_brought_anew(store: Store, hub: Hub) -> None:
    address = f"{hub.url}/cdn/org/rows/rows.jsonl"
    first = rows(store, address)
    hub.add("org/rows", Repository({"rows.jsonl": ROWS + ROWS}))
    second = rows(store, address)
    assert second.digest != first.digest
    assert rows(store, address, offline=True) == second
    assert first.path.is_dir()


def test_what_is_not_there_is_said(store: Store, hub: Hub) -> None:
    with pytest.raises(SourceUnavailable, match="cannot be had"):
        rows(store, f"{hub.url}/nowhere.jsonl")
    with pytest.raises(SourceUnavailable, match=r"is not in the store, and was not asked \(offline=true\)"):
        rows(store, f"{hub.url}/cdn/org/rows/rows.jsonl", offline=True)
    assert not (store.root / "rows").exists()


def test_a_folder_is_a_model(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "published"
    (folder / "below").mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "pytorch_model.bin", "below/other.json"):
        (folder / name).write_text(name)
    asset = resolve(ModelConfig(id=f"file://{folder}"), store)
    assert (asset.source, asset.id) == ("remote", f"file://{folder}")
    assert {path.name for path in Path(asset.path).rglob("*")} == {"config.json", "model.safetensors"}
    assert Path(asset.path).is_relative_to(store.root)
    for path in folder.glob("*.*"):
        path.unlink()
    assert resolve(ModelConfig(id=f"file://{folder}"), store, offline=True) == asset
    with pytest.raises(ModelUnavailable, match=r"no config\.json"):
        resolve(ModelConfig(id=f"file://{folder}"), store)


def test_a_missing_package_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    # fsspec remembers what it has imported.
    monkeypatch.delitem(importlib.import_module("fsspec.registry")._registry, "s3", raising=False)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(SourceUnavailable, match="needs the package s3fs, which is not installed: `pip install s3fs`"):
        rows(store, "s3://bucket/rows.jsonl")


def test_a_disk_that_is_too_small(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rows.jsonl").write_bytes(ROWS)
    monkeypatch.setattr("trainer.sources.download.SPARE", 2**60)
    with pytest.raises(NoSpace, match="make room"):
        rows(store, f"file://{tmp_path}/rows.jsonl")
