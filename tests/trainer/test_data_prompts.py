"""format=prompt: what each shipped style writes, and the token ids and labels that come of it."""

from typing import Any

import pytest

from conf.schema.data import RowsConfig
from conf.schema.templates import shipped_prompts
from tests import tiny
from trainer.data.formats import Reader
from trainer.data.labels import IGNORED, label_rows
from trainer.data.prompts import Prompter, PromptUnusable
from trainer.data.rows import Asked, BadRow

PAIRED = (
    "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
    "response that appropriately completes the request."
)
ALONE = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
CONCISE = (
    "Below is an instruction from a USER that describes a task. The ASSISTANT writes a response that appropriately and "
    "concisely completes the request.\n\n"
)
IO = {"instruction": "Add.", "input": "1 2", "output": "3"}
NO_INPUT = {"instruction": "Add.", "output": "3"}
S = {"system": "Be kind."}
QA = {"question": "Q", "answer": "A", "category": "C", "article": "X", "context": "Y", "unanswerable_question": "U"}
CHOICE = {"question": "Q", "choices": ["a", "b"], "explanation": "E"}
ORCA = {"question": "Q", "response": "R", "system_prompt": "Be kind."}
CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("alpaca", IO, f"{PAIRED}\n\n### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n", "3"),
    ("alpaca", NO_INPUT | S, f"{ALONE}\n\n### Instruction:\nAdd.\n\n### Response:\n", "3"),
    ("alpaca_chat", IO, f"SYSTEM: {PAIRED}\nUSER: Add.\n1 2\nASSISTANT:", "3"),
    ("alpaca_chatml", NO_INPUT, f"<|im_start|>system\n{ALONE}<|im_end|>\n<|im_start|>user\nAdd.<|im_end|>\n"
     "<|im_start|>assistant\n", "3"),
    ("alpaca_phi", IO, f"<|system|>\n{PAIRED}<|end|>\n<|user|>\nAdd.<|end|>1 2<|assistant|>", "3"),
    ("alpaca_concise", NO_INPUT, f"SYSTEM: {CONCISE}\nUSER: Add.\nASSISTANT:", "3"),
    ("alpaca_qa", QA, f"SYSTEM: {CONCISE}\nUSER: Q\nASSISTANT:", "A"),
    ("camel_ai", {"message_1": "Q", "message_2": "A"}, f"SYSTEM: {CONCISE}\nUSER: Q\nASSISTANT:", "A"),
    ("alpaca_no_prompt", IO | S, "USER: Add.\n1 2\nASSISTANT:", "3"),
    ("alpaca_w_system", IO | S, "SYSTEM: Be kind.\nUSER: Add.\n1 2\nASSISTANT:", "3"),
    ("alpaca_w_system", IO | {"system": ""}, "USER: Add.\n1 2\nASSISTANT:", "3"),
    ("alpaca_w_system_instruct", NO_INPUT | S, "Be kind.\n\n### Instruction:\nAdd.\n\n### Response:\n", "3"),
    ("open_orca", ORCA, "### System:\nBe kind.\n### Human:\nQ\n### Assistant:\n", "R"),
    ("open_orca_chatml", ORCA, "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n"
     "<|im_start|>assistant\n", "R"),
    ("orcamini", ORCA, "### System:\nBe kind.\n\n### User:\nQ\n\n### Response:\n", "R"),
    ("gpteacher", IO | {"response": "R"}, f"{PAIRED}\n\n### Instruction:\nAdd.\n\n### Input:\n1 2\n\n"
     "### Response:\n", "R"),
    ("gpteacher_chat", IO | {"response": "R"}, f"SYSTEM: {PAIRED}\nUSER: Add.\n1 2\nASSISTANT:", "R"),
    ("jeopardy", QA, f"{PAIRED}\n\n### Instruction:\nQ\n\n### Input:\nC\n\n### Response:\n", "what is A"),
    ("jeopardy_chat", QA, f"SYSTEM: {PAIRED}\nUSER: Q\nC\nASSISTANT:", "what is A"),
    ("explainchoice", CHOICE, "Choose the answer that best answers the question. Explain your reasoning.\n\n\n"
     '### Instruction:\nQ\n\n### Input:\n- "a"\n- "b"\n\n### Response:\n', "E"),
    ("explainchoice_chat", CHOICE, "SYSTEM: Choose the answer that best answers the question. Explain your reasoning."
     '\n\nUSER: Q\n- "a"\n- "b"\nASSISTANT:', "E"),
    ("concisechoice", CHOICE | {"solution": "S"}, "Choose the answer that best answers the question. Be concise in "
     'your response.\n\nUSER: Q\n- "a"\n- "b"\nASSISTANT:', "S"),
    ("oasst", {"INSTRUCTION": "I", "RESPONSE": "R"}, f"{ALONE}\n\n### Instruction:\nI\n\n### Response:\n", "R"),
    ("oasst_chat", {"INSTRUCTION": "I", "RESPONSE": "R"}, f"SYSTEM: {ALONE}\nUSER: I\nASSISTANT:", "R"),
    ("summarizetldr", {"article": "X", "summary": "Y"}, "USER: Summarize the following article as a TL;DR.\nX\n"
     "ASSISTANT:", "Y"),
    ("context_qa", QA, "SYSTEM: Use the following contextual information to concisely answer the question.\n\nUSER: X"
     "\n===\nQ\nASSISTANT:", "A"),
    ("context_qa_404", QA, "SYSTEM: Use the following contextual information to concisely answer the question.\n\n"
     "USER: X\n===\nU\nASSISTANT:", "The context provided does not contain any information about your inquiry. "
     "Therefore, I'm unable to answer your question based on the given context."),
    ("context_qa_v2", QA, "Context: Y\nQuestion: Q\n", "Answer: A"),
    ("creative_answer", {"instruction": "I", "answer": "no", "revision": "R"}, "Answer the following question in a "
     "comprehensive, in-depth, and creative way. Additionally your response should be relevant, accurate, and free of "
     "any ambiguity.\nUSER: I\nASSISTANT:", "R"),
]  # fmt: skip
REFLECTED = IO | {"reflection": "hm", "corrected": "three"}


@pytest.mark.parametrize(("name", "value", "prompt", "answer"), CASES, ids=[case[0] for case in CASES])
def test_a_shipped_style_writes_its_text(name: str, value: dict[str, Any], prompt: str, answer: str) -> None:
    assert Prompter(RowsConfig(format="prompt", prompt=name)).fill(value) == Asked(prompt, answer)


def test_reflection_is_one_text_of_three_answers() -> None:
    found = Prompter(RowsConfig(format="prompt", prompt="reflection")).fill(REFLECTED)
    assert found.joined
    assert found.prompt.startswith(PAIRED.partition(" Write")[0] + " You, the Assistant, should")
    assert found.prompt.endswith(
        "augmentations to the generation\n\n### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n"
    )
    assert found.answer == "### Thought:\n3\n\n### Agent Reflection:\nhm\n\n### Final Response:\nthree"
    chat = Prompter(RowsConfig(format="prompt", prompt="reflection_chat")).fill(REFLECTED)
    assert chat.answer == "\nTHOUGHT: 3\nASSISTANT REFLECTION: hm\nASSISTANT:"
    assert Prompter(RowsConfig(format="prompt", prompt="reflection")).fill(REFLECTED | {"reflection": ""}).answer == ""


def test_every_shipped_style_is_held_against_its_text() -> None:
    assert {case[0] for case in CASES} | {"reflection", "reflection_chat"} == set(shipped_prompts())


def test_a_text_of_ones_own_with_other_keys() -> None:
    how = RowsConfig(
        format="prompt",
        prompt="Q: {instruction} ({input}) {{}}",
        prompt_without_input="Q: {instruction}",
        field_instruction="q",
        field_input="more",
        field_output="a",
        system="Be kind.",
        system_format="[{system}] ",
    )
    assert Prompter(how).fill({"q": "x", "more": "y", "a": "z"}) == Asked("[Be kind.] Q: x (y) {}", "z")
    assert Prompter(how).fill({"q": "x", "a": "z", "system": "own"}) == Asked("[own] Q: x", "z")
    inside = how.model_copy(update={"prompt_without_input": None, "prompt": "{system}|{instruction}|{input}|"})
    assert Prompter(inside).fill({"q": "x", "a": ""}) == Asked("Be kind.|x||", "")


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (None, "data.format=prompt needs data.prompt"),
        ("alpacca", r"data.prompt=alpacca: there is no shipped prompt 'alpacca' \(did you mean alpaca\?\)"),
        ("{instruction", "cannot be read"),
        ("{instruction.real}", "{instruction.real} is no name of a field"),
        ("{}", "{} is no name of a field: write {{ for a brace itself"),
    ],
)
def test_a_prompt_that_cannot_be_used(prompt: str | None, message: str) -> None:
    with pytest.raises(PromptUnusable, match=message.replace("{", r"\{")):
        Prompter(RowsConfig(format="prompt", prompt=prompt))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"output": "x"},
            'has no key `instruction`, which the prompt reads (it has "output"): add it, or give data.field',
        ),
        ({"instruction": "x"}, "has no key `output`, which the prompt reads"),
        ({"instruction": 3, "output": "x"}, "`instruction` is a number: give a string"),
    ],
)
def test_a_row_that_a_prompt_cannot_take(value: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRow) as caught:
        Prompter(RowsConfig(format="prompt", prompt="alpaca")).fill(value)
    assert message in str(caught.value)


@pytest.fixture
def tokenizer() -> Any:
    """The tiny tokenizer as Llama's: it puts a start token before every text."""
    from tokenizers.processors import TemplateProcessing

    made = tiny._tokenizer()
    made.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    return made


def sample(tokenizer: Any, value: dict[str, Any], learn_all: bool = False, **how: Any) -> list[tuple[str, int]]:
    row = Reader(RowsConfig(**how), "sft", learn_all).row(value)
    (found,) = label_rows([row], tokenizer, 100)
    return [(tokenizer.decode([token]), label) for token, label in zip(found.ids, found.labels, strict=True)]


@pytest.mark.train
def test_a_prompt_is_tokenised_apart_from_its_answer(tokenizer: Any) -> None:
    no = IGNORED
    how: dict[str, Any] = {"format": "prompt", "prompt": "list {instruction} "}
    value = {"instruction": "name", "output": "a key"}
    # The prompt ends in a lone space, which in one text would be part of " a".
    asked = [("<|endoftext|>", no), ("list", no), (" n", no), ("am", no), ("e", no), (" ", no)]
    by_hand = [*asked, ("a", 68), (" key", 342), ("<|im_end|>", 2)]
    assert sample(tokenizer, value, **how) == by_hand
    ended = value | {"output": "a key<|im_end|>"}
    assert sample(tokenizer, ended, **how) == by_hand
    whole = sample(tokenizer, value, learn_all=True, **how)
    assert [label for _, label in whole] == [no, *tokenizer("list name ")["input_ids"][1:], 68, 342, 2]
    assert sample(tokenizer, value | {"output": ""}, **how) == asked


@pytest.mark.train
def test_a_joined_style_is_one_text(tokenizer: Any) -> None:
    row = Reader(RowsConfig(format="prompt", prompt="reflection"), "sft").row(REFLECTED)
    assert row.asked is not None
    (whole,) = label_rows([row], tokenizer, 10_000)
    ids = tokenizer(row.asked.prompt + row.asked.answer)["input_ids"]
    border = len(tokenizer(row.asked.prompt)["input_ids"])
    assert whole.ids.tolist() == [*ids, 2]
    assert whole.labels.tolist() == [IGNORED] * border + [*ids[border:], 2]


@pytest.mark.train
def test_segments_are_tokenised_piece_by_piece(tokenizer: Any) -> None:
    no = IGNORED
    value = {"segments": [{"label": False, "text": "<|endoftext|>list "}, {"label": True, "text": "a key"}]}
    by_hand = [("<|endoftext|>", no), ("list", no), (" ", no), ("a", 68), (" key", 342)]
    assert sample(tokenizer, value, format="segments") == by_hand
    assert [label for _, label in sample(tokenizer, value, learn_all=True, format="segments")][1:3] != [no, no]
    for bad, message in (({}, "`segments` is missing or null"), ({"segments": [{"text": "x"}]}, "has no `label`")):
        with pytest.raises(BadRow, match=message):
            Reader(RowsConfig(format="segments"), "sft").row(bad)
