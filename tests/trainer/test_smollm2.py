"""The real SmolLM2 from its wheel: converted once a machine, whole, and sensible.

The converted model is kept in SLURMWRIGHT_TEST_STORE, by default in the user's cache folder.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from conf.schema.model import ModelConfig
from trainer.data.chat import Renderer
from trainer.data.tokenizer import load_tokenizer
from trainer.sources.resolve import ModelAsset, resolve
from trainer.store import Store

pytestmark = pytest.mark.train
ROOT = Path(__file__).parents[2]
STORE = os.environ.get("SLURMWRIGHT_TEST_STORE", "~/.cache/slurmwright-tests")
MODEL = ModelConfig.model_validate(yaml.safe_load((ROOT / "conf/model/smollm2_135m.yaml").read_text()))


@pytest.fixture(scope="module")
def asset() -> ModelAsset:
    return resolve(MODEL, Store(STORE), only="wheel")


@pytest.fixture(scope="module")
def tokenizer(asset: ModelAsset) -> Any:
    return load_tokenizer(asset.path, MODEL)


def test_the_config_no_longer_says_quantised(asset: ModelAsset) -> None:
    config = json.loads((Path(asset.path) / "config.json").read_text())
    assert "quantization_config" not in config
    assert (config["dtype"], config["tie_word_embeddings"]) == ("float32", True)
    assert MODEL.architecture is not None
    stated = MODEL.architecture.model_dump()
    assert len(config.keys() & stated) >= 8
    assert {name: config[name] for name in config.keys() & stated} == {
        name: stated[name] for name in config.keys() & stated
    }


def test_the_tokenizer_is_the_originals(tokenizer: Any) -> None:
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|im_end|>")
    assert tokenizer.model_max_length == 8192
    assert tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"]) == [1, 2]
    # Digits are cut off before spaces are joined: three spaces before a digit are one token.
    assert tokenizer("x   5\n\n    12 = 3")["input_ids"] == [104, 333, 37, 35988, 33, 34, 446, 216, 35]


def test_its_template_adds_a_system_message_that_is_not_learnt(tokenizer: Any) -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    rendered = Renderer(tokenizer).render(messages)
    assert rendered.text.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
    assert [rendered.text[start:end] for start, end in rendered.answers] == ["Hello.<|im_end|>"]


def test_it_talks_sense(asset: ModelAsset, tokenizer: Any) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(asset.path, dtype=torch.float32, use_safetensors=True)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    question = [{"role": "user", "content": "What is the capital of France?"}]
    inputs = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    told = model.generate(**inputs, max_new_tokens=12, do_sample=False)
    assert "Paris" in tokenizer.decode(told[0, inputs["input_ids"].shape[1] :])
