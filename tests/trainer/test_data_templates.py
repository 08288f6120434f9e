"""Shipped chat templates: each against the text that the model's publisher writes, and its answers found."""

from pathlib import Path
from typing import Any

import pytest

from conf.schema.templates import UnknownName, shipped_templates, template_text
from tests import tiny
from trainer.data.chat import Renderer, TemplateError

pytestmark = pytest.mark.train
SYSTEM = {"role": "system", "content": "Be kind."}
TURNS = [
    {"role": "user", "content": "Who?"},
    {"role": "assistant", "content": "Me."},
    {"role": "user", "content": "Why?"},
    {"role": "assistant", "content": "Because."},
]
B, E = "<|endoftext|>", "<|im_end|>"
"""Start and end token of the tiny tokenizer."""
VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the user's questions."
)
METHARME = (
    "Enter RP mode. You shall reply to the user while staying in character. Your responses must be detailed, creative, "
    "immersive, and drive the scenario forward."
)
COHERE = "<|START_OF_TURN_TOKEN|>"
WITH_SYSTEM = {
    "alpaca": f"{B}Be kind.\n\n### Instruction:\nWho?\n\n### Response:\nMe.{E}\n\n### Instruction:\nWhy?\n\n"
    f"### Response:\nBecause.{E}",
    "chatml": "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\nMe."
    "<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\nBecause.<|im_end|>\n",
    "llama2": f"{B}[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nWho? [/INST] Me. {E}{B}[INST] Why? [/INST] Because. {E}",
    "llama3": f"{B}<|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|><|start_header_id|>user"
    "<|end_header_id|>\n\nWho?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nMe.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    "Because.<|eot_id|>",
    "mistral_v7_tekken": f"{B}[SYSTEM_PROMPT]Be kind.[/SYSTEM_PROMPT][INST]Who?[/INST]Me.{E}[INST]Why?[/INST]"
    f"Because.{E}",
    "gemma3": f"{B}<start_of_turn>user\nBe kind.\n\nWho?<end_of_turn>\n<start_of_turn>model\nMe.<end_of_turn>\n"
    "<start_of_turn>user\nWhy?<end_of_turn>\n<start_of_turn>model\nBecause.<end_of_turn>\n",
    "phi_3": f"{B}<|system|>\nBe kind.<|end|>\n<|user|>\nWho?<|end|>\n<|assistant|>\nMe.<|end|>\n<|user|>\nWhy?"
    "<|end|>\n<|assistant|>\nBecause.<|end|>\n",
    "phi_35": "<|system|>\nBe kind.<|end|>\n<|user|>\nWho?<|end|>\n<|assistant|>\nMe.<|end|>\n<|user|>\nWhy?<|end|>\n"
    "<|assistant|>\nBecause.<|end|>\n",
    "phi_4": "<|im_start|>system<|im_sep|>Be kind.<|im_end|><|im_start|>user<|im_sep|>Who?<|im_end|><|im_start|>"
    "assistant<|im_sep|>Me.<|im_end|><|im_start|>user<|im_sep|>Why?<|im_end|><|im_start|>assistant<|im_sep|>Because."
    "<|im_end|>",
    "deepseek_v2": f"{B}Be kind.\n\n<｜User｜>Who?<｜Assistant｜>Me.{E}<｜User｜>Why?<｜Assistant｜>Because.{E}",
    "deepseek_v3": f"{B}Be kind.<｜User｜>Who?<｜Assistant｜>Me.<｜end▁of▁sentence｜><｜User｜>Why?<｜Assistant｜>"
    "Because.<｜end▁of▁sentence｜>",
    "cohere": f"{B}{COHERE}<|SYSTEM_TOKEN|>Be kind.<|END_OF_TURN_TOKEN|>{COHERE}<|USER_TOKEN|>Who?<|END_OF_TURN_TOKEN|>"
    f"{COHERE}<|CHATBOT_TOKEN|>Me.<|END_OF_TURN_TOKEN|>{COHERE}<|USER_TOKEN|>Why?<|END_OF_TURN_TOKEN|>{COHERE}"
    "<|CHATBOT_TOKEN|>Because.<|END_OF_TURN_TOKEN|>",
    "jamba": "<|startoftext|><|bom|><|system|> Be kind.<|eom|><|bom|><|user|> Who?<|eom|><|bom|><|assistant|> Me."
    "<|eom|><|bom|><|user|> Why?<|eom|><|bom|><|assistant|> Because.<|eom|>",
    "metharme": f"{B}<|system|>Be kind.<|user|>Who?<|model|>Me.<|user|>Why?<|model|>Because.{E}",
    "exaone": "[|system|]Be kind.[|endofturn|]\n[|user|]Who?\n[|assistant|]Me.[|endofturn|]\n[|user|]Why?\n"
    "[|assistant|]Because.[|endofturn|]\n",
    "zephyr": f"<|system|>\nBe kind.{E}\n<|user|>\nWho?{E}\n<|assistant|>\nMe.{E}\n<|user|>\nWhy?{E}\n<|assistant|>\n"
    f"Because.{E}\n",
    "vicuna": f"{B}Be kind. USER: Who? ASSISTANT: Me.{E}USER: Why? ASSISTANT: Because.{E}",
    "granite": "<|start_of_role|>system<|end_of_role|>Be kind.<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>Who?"
    "<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>Me.<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>"
    "Why?<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>Because.<|end_of_text|>\n",
}
WITH_SYSTEM["qwen_25"] = WITH_SYSTEM["chatml"]
WITH_SYSTEM["falcon_h1"] = B + WITH_SYSTEM["chatml"]
WITH_SYSTEM["aya"] = WITH_SYSTEM["cohere"]
WITH_SYSTEM["qwen3"] = WITH_SYSTEM["chatml"].replace("assistant\nBecause", "assistant\n<think>\n\n</think>\n\nBecause")
WITHOUT = {
    "mistral_v1": f"{B} [INST] Who? [/INST] Me.{E} [INST] Why? [/INST] Because.{E}",
    "mistral_v2v3": f"{B}[INST] Who?[/INST] Me.{E}[INST] Why?[/INST] Because.{E}",
    "mistral_v3_tekken": f"{B}[INST]Who?[/INST]Me.{E}[INST]Why?[/INST]Because.{E}",
    "gemma": WITH_SYSTEM["gemma3"].replace("Be kind.\n\n", ""),
    "gemma3": WITH_SYSTEM["gemma3"].replace("Be kind.\n\n", ""),
    "llama2": WITH_SYSTEM["llama2"].replace("<<SYS>>\nBe kind.\n<</SYS>>\n\n", ""),
    "jamba": WITH_SYSTEM["jamba"].replace("Be kind.", ""),
    "exaone": WITH_SYSTEM["exaone"].replace("Be kind.", ""),
    "vicuna": WITH_SYSTEM["vicuna"].replace("Be kind.", VICUNA),
    "metharme": WITH_SYSTEM["metharme"].replace("Be kind.", METHARME),
    "qwen_25": WITH_SYSTEM["chatml"].replace(
        "Be kind.", "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
    ),
}
PROMPTS = {
    "alpaca": "\n\n### Response:\n",
    "chatml": "<|im_start|>assistant\n",
    "llama2": "",
    "llama3": "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "gemma3": "<start_of_turn>model\n",
    "phi_35": "<|assistant|>\n",
    "phi_4": "<|im_start|>assistant<|im_sep|>",
    "deepseek_v3": "<｜Assistant｜>",
    "cohere": f"{COHERE}<|CHATBOT_TOKEN|>",
    "jamba": "<|bom|><|assistant|>",
    "exaone": "[|assistant|]",
    "zephyr": "<|assistant|>\n",
    "vicuna": "ASSISTANT:",
    "granite": "<|start_of_role|>assistant<|end_of_role|>",
}
"""What opens an answer."""


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny._tokenizer()


def text(tokenizer: Any, name: str, messages: list[dict[str, Any]], prompt: bool = False, **more: Any) -> str:
    rendered: str = tokenizer.apply_chat_template(
        messages, chat_template=template_text(name), tokenize=False, add_generation_prompt=prompt, **more
    )
    return rendered


@pytest.mark.parametrize("name", shipped_templates())
def test_every_shipped_template_writes_the_published_format(tokenizer: Any, name: str) -> None:
    assert name in WITH_SYSTEM or name in WITHOUT, "a new template needs its text here"
    if name in WITH_SYSTEM:
        assert text(tokenizer, name, [SYSTEM, *TURNS]) == WITH_SYSTEM[name]
    else:
        with pytest.raises(TemplateError, match="refuses a conversation of system, user"):
            Renderer(tokenizer, template_text(name)).render([SYSTEM, *TURNS])
    if name in WITHOUT:
        assert text(tokenizer, name, TURNS) == WITHOUT[name]
    if name in PROMPTS:
        assert (
            text(tokenizer, name, TURNS[:1], prompt=True)
            == text(tokenizer, name, TURNS[:1]).removesuffix(E if name == "metharme" else "") + PROMPTS[name]
        )


@pytest.mark.parametrize("name", shipped_templates())
def test_answers_are_found_in_every_shipped_template(tokenizer: Any, name: str) -> None:
    rendered = Renderer(tokenizer, template_text(name)).render(TURNS)
    answers = [rendered.text[start:end] for start, end in rendered.answers]
    assert [answer.strip().removeprefix("<think>\n\n</think>\n\n")[:3] for answer in answers] == ["Me.", "Bec"]
    assert not any("Who" in answer or "Why" in answer for answer in answers)


@pytest.mark.parametrize("name", ["llama2", "llama3", "gemma", "gemma3", "cohere", "aya", "metharme"])
def test_some_formats_trim_what_is_said(tokenizer: Any, name: str) -> None:
    spaced = [turn | {"content": f" {turn['content']}\n"} for turn in TURNS]
    assert text(tokenizer, name, spaced) == text(tokenizer, name, TURNS)


def test_the_default_system_text_of_phi_4_is_whole(tokenizer: Any) -> None:
    found = text(tokenizer, "phi_4", TURNS[:1])
    assert found.startswith("<|im_start|>system<|im_sep|>You are Phi, a language model trained by Microsoft to help")
    assert "<think> {Thought section} </think> {Solution section}. In the Thought section, detail" in found
    assert found.endswith("through the above guidelines:<|im_end|><|im_start|>user<|im_sep|>Who?<|im_end|>")
    assert "  " not in found


def test_qwen_25_writes_tools_and_calls(tokenizer: Any) -> None:
    tool = {"type": "function", "function": {"name": "add"}}
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "add", "arguments": {"a": 1}}}]}
    found = text(tokenizer, "qwen_25", [TURNS[0], call, {"role": "tool", "content": "3"}], tools=[tool])
    assert '<tools>\n{"type": "function", "function": {"name": "add"}}\n</tools>\n\nFor each function call, ' in found
    assert found.endswith(
        '<|im_start|>assistant\n<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\n3\n</tool_response><|im_end|>\n"
    )


def test_qwen3_writes_thoughts_of_the_last_answer_alone(tokenizer: Any) -> None:
    thinking = [
        m | ({"content": f"<think>\nhm\n</think>\n\n{m['content']}"} if m["role"] == "assistant" else {}) for m in TURNS
    ]
    found = text(tokenizer, "qwen3", thinking)
    assert "assistant\nMe.<|im_end|>" in found
    assert found.endswith("assistant\n<think>\nhm\n</think>\n\nBecause.<|im_end|>\n")


def test_names_and_texts() -> None:
    assert template_text("{{ messages }}") == "{{ messages }}"
    assert len(shipped_templates()) >= 15
    assert all(isinstance(path, Path) and path.is_file() for path in shipped_templates().values())
    with pytest.raises(UnknownName, match=r"no shipped chat template 'chatlm' \(did you mean chatml\?\): use one"):
        template_text("chatlm")
