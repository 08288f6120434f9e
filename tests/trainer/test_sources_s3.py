"""Rows and models in S3: by s3fs itself, from moto's server on the loopback, which speaks S3's protocol."""

from collections.abc import Iterator

import boto3
import pytest
import s3fs
from moto.server import ThreadedMotoServer

from conf.schema.model import ModelConfig
from trainer.sources.errors import SourceUnavailable
from trainer.sources.remote import bring
from trainer.sources.resolve import resolve
from trainer.store import Entry, Store

BUCKET = "cluster"
ROWS = b'{"text": "a row"}\n' * 2_000


class Service:
    """A bucket on a server of this machine."""

    def __init__(self, url: str) -> None:
        self._client = boto3.client("s3", endpoint_url=url)
        self._client.create_bucket(Bucket=BUCKET)

    def put(self, key: str, content: bytes) -> None:
        """Write an object, also over an old one."""
        self._client.put_object(Bucket=BUCKET, Key=key, Body=content)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """S3 as a person names it: by the environment alone."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-token")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        yield Service(f"http://{host}:{port}")
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        server.stop()


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def rows(store: Store, address: str, offline: bool = False) -> Entry:
    return bring("rows", address, store, offline, lambda names: names)


def files(entry: Entry) -> dict[str, bytes]:
    """Content by name below the entry's folder."""
    return {str(path.relative_to(entry.path)): path.read_bytes() for path in entry.path.rglob("*") if path.is_file()}


def test_an_object_a_folder_and_a_pattern(service: Service, store: Store) -> None:
    for key in ("data/a.jsonl", "data/below/b.jsonl", "data/c.txt"):
        service.put(key, ROWS + key.encode())
    contents = {key.removeprefix("data/"): ROWS + key.encode() for key in ("data/a.jsonl", "data/below/b.jsonl")}
    assert files(rows(store, f"s3://{BUCKET}/data/a.jsonl")) == {"a.jsonl": contents["a.jsonl"]}
    assert files(rows(store, f"s3://{BUCKET}/data/*.jsonl")) == {"a.jsonl": contents["a.jsonl"]}
    whole = files(rows(store, f"s3://{BUCKET}/data"))
    assert whole == contents | {"c.txt": ROWS + b"data/c.txt"}


def test_an_object_that_has_changed_is_brought_anew(service: Service, store: Store) -> None:
    """Of the same length, so that its etag alone tells."""
    address = f"s3://{BUCKET}/rows.jsonl"
    service.put("rows.jsonl", ROWS)
    first = rows(store, address)
    assert rows(store, address) == first
    service.put("rows.jsonl", ROWS[:-1] + b" ")
    s3fs.S3FileSystem.clear_instance_cache()
    second = rows(store, address)
    assert second.digest != first.digest
    assert rows(store, address, offline=True) == second


def test_a_model_comes_without_its_pickles(service: Service, store: Store) -> None:
    for name in ("config.json", "model.safetensors", "pytorch_model.bin"):
        service.put(f"models/tiny/{name}", name.encode())
    asset = resolve(ModelConfig(id=f"s3://{BUCKET}/models/tiny"), store)
    entry = rows(store, f"s3://{BUCKET}/models/tiny/config.json")
    assert asset.source == "remote" and files(entry) == {"config.json": b"config.json"}
    assert resolve(ModelConfig(id=f"s3://{BUCKET}/models/tiny"), store, offline=True) == asset
    names = {path.name for path in store.root.rglob("*") if path.is_file()}
    assert {"config.json", "model.safetensors"} <= names and "pytorch_model.bin" not in names
    assert not any(b"a-secret-token" in path.read_bytes() for path in store.root.rglob("*") if path.is_file())


@pytest.mark.parametrize("place", ["no-such-bucket/rows.jsonl", f"{BUCKET}/nowhere.jsonl"])
def test_what_is_not_there_is_said(service: Service, store: Store, place: str) -> None:
    with pytest.raises(SourceUnavailable, match=f"s3://{place} cannot be read"):
        rows(store, f"s3://{place}")
    assert not (store.root / "rows").exists()
