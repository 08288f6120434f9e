"""The run's tokenizer: tokens that are added, templates by name, another tokenizer than the model's own."""

import json
from pathlib import Path

import pytest

from conf.schema.model import ModelConfig
from conf.schema.templates import template_text
from tests import tiny
from tests.hub.repository import Repository
from tests.hub.server import serving
from trainer.data.tokenizer import TokenizerUnusable, load_tokenizer, tokenizer_of
from trainer.sources.resolve import resolve
from trainer.sources.tokenizer import TokenizerUnavailable, tokenizer_folder
from trainer.store import Store

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer")
    tiny._tokenizer().save_pretrained(path)
    return path


def test_tokens_are_added_with_and_without_a_role(folder: Path) -> None:
    size = len(load_tokenizer(folder, ModelConfig()))
    model = ModelConfig(
        special_tokens={"pad_token": "<|pad|>", "eos_token": "<|endoftext|>"}, added_tokens=["<a>", "<b>"]
    )
    tokenizer = load_tokenizer(folder, model)
    assert (tokenizer.pad_token, tokenizer.eos_token, len(tokenizer)) == ("<|pad|>", "<|endoftext|>", size + 3)
    assert tokenizer.tokenize("x<a><b>") == ["x", "<a>", "<b>"]
    assert tokenizer.decode(tokenizer("<|pad|><a>")["input_ids"], skip_special_tokens=True) == "<a>"
    known = load_tokenizer(folder, ModelConfig(added_tokens=["<pad>"]))
    assert len(known) == size


def test_a_role_that_there_is_not(folder: Path) -> None:
    with pytest.raises(TokenizerUnusable, match=r"model.special_tokens has start_token: allowed are bos_token,"):
        load_tokenizer(folder, ModelConfig(special_tokens={"start_token": "<s>"}))


def test_templates_by_name_and_as_text(folder: Path) -> None:
    assert load_tokenizer(folder, ModelConfig()).chat_template == tiny.CHAT_TEMPLATE
    assert load_tokenizer(folder, ModelConfig(chat_template="llama3")).chat_template == template_text("llama3")
    assert load_tokenizer(folder, ModelConfig(chat_template="{{ 1 }}")).chat_template == "{{ 1 }}"
    with pytest.raises(TokenizerUnusable, match=r"model.chat_template=lama3: .*\(did you mean llama3\?\)"):
        load_tokenizer(folder, ModelConfig(chat_template="lama3"))


def test_a_tokenizer_without_an_end_token_takes_one(folder: Path, tmp_path: Path) -> None:
    tokenizer = tiny._tokenizer()
    tokenizer.eos_token = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(TokenizerUnusable, match=r"model.special_tokens=\{eos_token: TOKEN\}"):
        load_tokenizer(tmp_path, ModelConfig())
    given = load_tokenizer(tmp_path, ModelConfig(special_tokens={"eos_token": "<|im_end|>"}))
    assert given.eos_token_id == 2


def test_another_folder_is_the_tokenizers(folder: Path, tmp_path: Path) -> None:
    weights = tiny.tiny_llama(tmp_path / "model")
    store = Store(tmp_path / "store")
    own = resolve(ModelConfig(id=str(weights)), store)
    assert own.tokenizer is None
    assert tokenizer_of({"model": {"path": own.path, "tokenizer": None}}, own.path) == weights
    other = resolve(ModelConfig(id=str(weights), tokenizer=str(folder)), store)
    assert (other.tokenizer, other.path, other.digest) == (str(folder), own.path, own.digest)
    assert tokenizer_of({"model": {"tokenizer": other.tokenizer}}, other.path) == folder


def test_a_tokenizer_of_the_hub_is_brought_into_the_store(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    store = Store(tmp_path / "store")
    model = ModelConfig(tokenizer="owner/name")
    with pytest.raises(TokenizerUnavailable, match=r"owner/name is no folder.*not asked \(offline=true\)") as caught:
        tokenizer_folder(model, "weights", store, offline=True)
    assert caught.value.exit_code == 5
    with serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.add("owner/name", Repository.of_folder(folder)).files["model.safetensors"] = b"weights"
        found = tokenizer_folder(model, "weights", store, offline=False)
        assert not hub.fetched("model.safetensors")
    assert Path(found).is_relative_to(tmp_path / "store")
    assert json.loads((Path(found) / "tokenizer.json").read_text())
    assert tokenizer_folder(model, "weights", store, offline=True) == found
    assert tokenizer_folder(model, "weights", store, offline=False) == found
    with pytest.raises(TokenizerUnavailable, match="cannot be reached"):
        tokenizer_folder(ModelConfig(tokenizer="owner/other"), "weights", store, offline=False)
