"""Bundles: packed on one machine, unpacked on another, and nothing of a damaged or hostile one comes into a store."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.staged import digest_of_files, unsafe
from launcher import cli
from launcher.bundle import write_bundle
from launcher.bundle_index import BadBundle, read_index
from launcher.unbundle import unbundle
from tests.launcher.conftest import WORDS, Staged

DIGEST = "0" * 64


@pytest.mark.train
def test_a_bundle_makes_the_same_store_elsewhere(
    staged: Staged, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "there"
    parts = sorted(staged.bundle.parent.iterdir())
    assert len(parts) > 3
    assert all(part.stat().st_size <= 100 * 1024 for part in parts[1:])
    assert cli.main(["stage", "--from-bundle", str(staged.bundle), "--store", str(there), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [asset["id"] for asset in answer["assets"]] == ["org/tiny", "org/rows"]
    assert cli.main(["verify", *WORDS, "offline=true", "--store", str(there)]) == 0, capsys.readouterr().err
    assert not list(there.glob(".incoming-*"))
    weights = next(there.glob("models/*/model.safetensors"))
    weights.write_bytes(b"cut off")
    assert cli.main(["stage", "--from-bundle", str(staged.bundle), "--store", str(there)]) == 0
    assert cli.main(["verify", *WORDS, "offline=true", "--store", str(there)]) == 0, capsys.readouterr().err


@pytest.mark.train
def test_a_bundle_is_never_overwritten(staged: Staged, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="it is there already; choose another name"):
        write_bundle(staged.bundle, staged.store, [], 1000)


class Packed:
    """A small bundle written by hand, as a stranger would: any names and contents, with digests that fit."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "x.bundle"
        self.store = folder / "store"
        self.contents: dict[str, bytes] = {}

    def entry(self, kind: str, files: dict[str, bytes]) -> str:
        """A folder named by its digest; gives that."""
        listed = [{"name": name, "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()]
        digest = digest_of_files(listed)
        self.contents |= {f"{kind}/{digest}/{name}": data for name, data in files.items()}
        return digest

    def record(self, kind: str, digest: str, **more: Any) -> None:
        """The record that names a folder."""
        files = [
            {"name": name.removeprefix(f"{kind}/{digest}/"), "size": len(data), "sha256": _sha(data)}
            for name, data in self.contents.items()
            if name.startswith(f"{kind}/{digest}/")
        ]
        asset = {"kind": kind, "source": "hub", "id": "a/b", "revision": None, "digest": digest, "files": files}
        value = {"key": DIGEST, "index": [], "assets": [asset | more]}
        self.contents[f"staged/{DIGEST}.json"] = json.dumps(value).encode()

    def write(self, edit: Callable[[dict[str, Any]], None] = lambda index: None) -> None:
        """Index and one part."""
        data = b"".join(self.contents.values())
        part = self.file.with_name("x.bundle.0001")
        part.write_bytes(data)
        files = [{"name": name, "size": len(one), "sha256": _sha(one)} for name, one in self.contents.items()]
        index = {"format": 1, "files": files, "parts": [{"name": part.name, "size": len(data), "sha256": _sha(data)}]}
        edit(index)
        self.file.write_text(json.dumps(index))

    def refused(self, match: str) -> None:
        """Unpacking is refused, and the store has nothing of it."""
        with pytest.raises(BadBundle, match=match) as caught:
            unbundle(self.file, self.store)
        assert "Nothing was unpacked" in caught.value.message
        assert caught.value.exit_code == 2
        left = [path for path in self.store.rglob("*") if path.is_file()] if self.store.exists() else []
        assert left == []
        assert not any(path.name == "escaped" for path in self.file.parent.rglob("*"))


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def packed(tmp_path: Path) -> Packed:
    """A good bundle of one small model folder."""
    made = Packed(tmp_path)
    made.record("models", made.entry("models", {"config.json": b"{}"}))
    return made


def test_a_small_bundle_is_unpacked(packed: Packed) -> None:
    packed.write()
    assert [asset["id"] for asset in unbundle(packed.file, packed.store)["assets"]] == ["a/b"]
    assert [path.name for path in packed.store.glob("models/*/*")] == ["config.json"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in packed.store.rglob("*"))


def _set(index: dict[str, Any], **fields: Any) -> None:
    index["files"][0] |= fields


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda index: _set(index, name="../escaped"), "leads out of its folder"),
        (lambda index: _set(index, name="/tmp/escaped"), "is absolute"),
        (lambda index: _set(index, name=f"models/{DIGEST}/../../../escaped"), "leads out of its folder"),
        (lambda index: _set(index, name=f"models/{DIGEST}/a\x00b"), "control character"),
        (lambda index: _set(index, name="locks/escaped"), "begins with none of models"),
        (lambda index: _set(index, name="models/escaped"), "not below a folder named by its digest"),
        (lambda index: _set(index, name="staged/deep/a.json"), "is no JSON file right below"),
        (lambda index: _set(index, size=-1), "has size -1"),
        (lambda index: _set(index, size=10**18), "its files have other sizes than its parts"),
        (lambda index: _set(index, size=True), "has size True"),
        (lambda index: _set(index, sha256="../x"), "no name or no sha256"),
        (lambda index: _set(index, sha256=DIGEST), "sha256 than the index names: copy the bundle's parts again"),
        (lambda index: index["files"].append(index["files"][0] | {"size": 0}), "twice, or as a file and a folder"),
        (lambda index: index["files"].append(index["files"][0] | {
            "size": 0, "name": index["files"][0]["name"] + "/below"}), "twice, or as a file and a folder"),
        (lambda index: index["files"].append(index["files"][0] | {
            "size": 0, "name": index["files"][0]["name"].replace("config", "CONFIG")}), "twice"),
        (lambda index: index["parts"][0].update(name="../x.bundle.0001"), "part 1 is called"),
        (lambda index: index["parts"][0].update(sha256=DIGEST), "another sha256 than the index names: copy it again"),
        (lambda index: index.update(format=99), "has format 99, and this version reads 1"),
        (lambda index: index.update(files="none"), "is no index of a bundle"),
        (lambda index: index.pop("parts"), "is no index of a bundle"),
    ],
)  # fmt: skip
def test_an_index_is_not_believed(packed: Packed, edit: Callable[[dict[str, Any]], None], said: str) -> None:
    packed.write(edit)
    packed.refused(said)


def test_sizes_that_no_disk_has_are_refused_before_a_byte_is_written(packed: Packed) -> None:
    def huge(index: dict[str, Any]) -> None:
        index["files"][0]["size"] += 10**18
        index["parts"][0]["size"] += 10**18

    packed.write(huge)
    packed.refused(r"the bundle holds 1000000000.00 GB, and [0-9.]+ GB are free")


@pytest.mark.parametrize("damage", ["gone", "short", "link", "fifo"])
def test_a_damaged_part_is_named(packed: Packed, damage: str) -> None:
    packed.write()
    part = packed.file.with_name("x.bundle.0001")
    data = part.read_bytes()
    part.unlink()
    if damage == "short":
        part.write_bytes(data[:-1])
    elif damage == "link":
        part.with_name("else").write_bytes(data)
        part.symlink_to(part.with_name("else"))
    elif damage == "fifo":
        os.mkfifo(part)
    packed.refused(f"the part {part} ")


def test_a_flipped_byte_is_found(packed: Packed) -> None:
    packed.write()
    part = packed.file.with_name("x.bundle.0001")
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    packed.refused("has another sha256 than the index names: copy the bundle's parts again")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"config.json": b"{}", "pytorch_model.bin": b"x"}, "is pickled or code.*add --allow-code"),
        ({"config.json": b"{}", "modeling_x.py": b"import os"}, "is pickled or code"),
        ({"config.json": b"{}", "model.safetensors": b"\x08"}, "is no safetensors file"),
        ({"config.json": b"{}", "model.safetensors": (8).to_bytes(8, "little") + b'{"a":{}}'}, "has no data_offsets"),
        ({"config.json": b"not json"}, "config.json cannot be read"),
        ({"tokenizer.json": b"{}"}, "tokenizer.json cannot be read"),
    ],
)
def test_weights_and_code_are_looked_at(packed: Packed, files: dict[str, bytes], said: str) -> None:
    packed.contents.clear()
    packed.record("models", packed.entry("models", files))
    packed.write()
    packed.refused(said)


def test_code_comes_in_where_it_is_asked_for(packed: Packed) -> None:
    packed.contents.clear()
    packed.record("models", packed.entry("models", {"config.json": b"{}", "modeling_x.py": b"import os"}))
    packed.write()
    unbundle(packed.file, packed.store, allow_code=True)
    assert list(packed.store.glob("models/*/modeling_x.py"))


def test_a_folder_with_other_contents_than_its_name_says(packed: Packed) -> None:
    packed.contents[f"models/{DIGEST}/config.json"] = b"{}"
    packed.write()
    packed.refused("has other contents than its name says")


def test_an_index_file_that_leads_out_of_the_store_is_left_out(packed: Packed) -> None:
    digest = next(iter(packed.contents)).split("/")[1]
    value = {"digest": digest, "path": "/etc", "kind": "models", "from": {}}
    packed.contents[f"index/models-{DIGEST}.json"] = json.dumps(value).encode()
    packed.write()
    unbundle(packed.file, packed.store)
    assert not list((packed.store / "index").glob("*")) if (packed.store / "index").exists() else True


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"digest": "../..", "kind": "models", "from": {}}, "is not called by what it describes"),
        ([], "is no JSON object"),
    ],
)
def test_an_index_file_is_not_believed(packed: Packed, value: Any, said: str) -> None:
    packed.contents[f"index/models-{DIGEST}.json"] = json.dumps(value).encode()
    packed.write()
    packed.refused(said)


def test_an_index_file_names_what_is_in_the_bundle(packed: Packed) -> None:
    key = _sha(b"{}")
    value = {"digest": DIGEST, "kind": "models", "from": {}}
    packed.contents[f"index/models-{key}.json"] = json.dumps(value).encode()
    packed.write()
    packed.refused("names '0{64}', which is not in the bundle")


def test_a_record_names_what_is_in_the_bundle(packed: Packed) -> None:
    packed.record("models", DIGEST)
    packed.write()
    packed.refused("names models a/b, which is not in the bundle")


def test_what_is_in_the_store_already_stays_when_a_bundle_is_refused(packed: Packed) -> None:
    packed.write()
    unbundle(packed.file, packed.store)
    before = sorted(packed.store.rglob("*"))
    packed.write(lambda index: _set(index, sha256=DIGEST))
    with pytest.raises(BadBundle):
        unbundle(packed.file, packed.store)
    assert sorted(packed.store.rglob("*")) == before


PIECES = st.sampled_from(["..", ".", "", "a", "/", "\\", "\x00", "\n", "~", ":", "models", "é", "a" * 300, "/etc"])


@given(st.lists(st.one_of(PIECES, st.text(max_size=8)), max_size=6).map("/".join) | st.text(max_size=40))
def test_a_name_that_is_let_through_stays_below_its_folder(name: str) -> None:
    if unsafe(name) is None:
        base = PurePosixPath("/store/models")
        path = os.path.normpath(base / name)
        assert path.startswith("/store/models/")
        assert path == f"/store/models/{name}"
        assert all(len(os.fsencode(part)) <= 255 for part in name.split("/"))


@given(st.dictionaries(st.sampled_from(["format", "files", "parts", "x"]), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["name", "size", "sha256"]), inner, max_size=3),
    max_leaves=8)))  # fmt: skip
def test_no_index_is_a_bug_of_ours(tmp_path_factory: pytest.TempPathFactory, value: dict[str, Any]) -> None:
    file = tmp_path_factory.getbasetemp() / "any.bundle"
    file.write_text(json.dumps(value | {"format": 1}))
    try:
        index = read_index(file)
    except BadBundle:
        return
    assert sum(part.size for part in index.parts) == sum(one.size for one in index.files)


@pytest.mark.train
def test_local_folders_and_files_travel_too(staged: Staged, tmp_path: Path) -> None:
    """A record whose model and rows lie outside of the store: they come into it where the bundle is unpacked."""
    path = next((staged.store / "staged").iterdir())
    record = json.loads(path.read_text())
    model = record["assets"][0]
    shutil.move(staged.store / model["path"], tmp_path / "mine")
    model |= {"source": "folder", "path": str(tmp_path / "mine")}
    path.write_text(json.dumps(record))
    write_bundle(tmp_path / "local.bundle", staged.store, [record], 10**9)
    answer = unbundle(tmp_path / "local.bundle", tmp_path / "there")
    assert answer["type"] == [f"model.id={tmp_path / 'there' / 'models' / model['digest']}"]
