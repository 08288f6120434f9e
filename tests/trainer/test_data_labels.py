"""Labels: a three-turn chat against labels set by hand, other models' templates, plain text, cutting."""

from typing import Any

import numpy as np
import pytest

from tests import tiny
from trainer.data.chat import Renderer, TemplateError
from trainer.data.labels import IGNORED, label_rows, learnt
from trainer.data.rows import Message, Row

pytestmark = pytest.mark.train

LLAMA3 = (
    "{{ '<|endoftext|>' }}{% for m in messages %}{{ '<|im_start|>' + m.role + '<pad>\n\n' }}"
    "{{ m.content | trim + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant<pad>\n\n' }}{% endif %}"
)
MISTRAL = (
    "{{ '<|endoftext|>' }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% elif m.role == 'assistant' %}{{ ' ' + m.content + '<|im_end|>' }}{% else %}"
    "{{ raise_exception('only user and assistant here') }}{% endif %}{% endfor %}"
)
THINKING = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' and loop.last %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}{{ m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
NO_END = (
    "{% for m in messages %}{{ '### ' + m.role + ': ' + m.content + '\n\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '### assistant: ' }}{% endif %}"
)
DEFAULT_SYSTEM = (
    "{% for m in messages %}{% if loop.first and m.role != 'system' %}{{ '<|im_start|>system\nBe kind<|im_end|>\n' }}"
    "{% endif %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LENGTH_FIRST = "{% for m in messages %}{{ m.role + m.content | length | string + ':' + m.content + '\n' }}{% endfor %}"


@pytest.fixture(scope="module")
def tiny_tokenizer() -> Any:
    return tiny._tokenizer()


@pytest.fixture
def tokenizer(tiny_tokenizer: Any) -> Any:
    tiny_tokenizer.chat_template = tiny.CHAT_TEMPLATE
    return tiny_tokenizer


def chat(*turns: str, system: str | None = None) -> tuple[Message, ...]:
    """User and assistant in turn, after a system message where one is given."""
    messages = [] if system is None else [Message(role="system", content=system)]
    for number, content in enumerate(turns):
        messages.append(Message(role="assistant" if number % 2 else "user", content=content))
    return tuple(messages)


def answers(tokenizer: Any, messages: tuple[Message, ...]) -> list[str]:
    rendered = Renderer(tokenizer).render(messages)
    return [rendered.text[start:end] for start, end in rendered.answers]


def test_a_chat_of_three_turns_has_the_labels_set_by_hand(tokenizer: Any) -> None:
    messages = chat("the name", "a key", "index é", "none ", "copy", "\nsort", system="list")
    (sample,) = label_rows([Row(messages=messages)], tokenizer, 100)
    no = IGNORED
    by_hand = [
        ("<|im_start|>", no), ("system", no), ("\n", no), ("list", no), ("<|im_end|>", no), ("\n", no),
        ("<|im_start|>", no), ("user", no), ("\n", no), ("the", no), (" n", no), ("am", no), ("e", no),
        ("<|im_end|>", no), ("\n", no),
        ("<|im_start|>", no), ("assistant", no), ("\n", no), ("a", 68), (" key", 342), ("<|im_end|>", 2), ("\n", no),
        ("<|im_start|>", no), ("user", no), ("\n", no), ("index", no), (" ", no), ("\ufffd", no), ("\ufffd", no),
        ("<|im_end|>", no), ("\n", no),
        ("<|im_start|>", no), ("assistant", no), ("\n", no), ("none", 481), (" ", 224), ("<|im_end|>", 2), ("\n", no),
        ("<|im_start|>", no), ("user", no), ("\n", no), ("copy", no), ("<|im_end|>", no), ("\n", no),
        ("<|im_start|>", no), ("assistant", no), ("\n", no), ("\n", 202), ("sort", 441), ("<|im_end|>", 2), ("\n", no),
    ]  # fmt: skip
    assert [
        (tokenizer.decode([token]), label) for token, label in zip(sample.ids, sample.labels, strict=True)
    ] == by_hand
    assert sample.trained == 9
    assert not sample.cut


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (tiny.CHAT_TEMPLATE, [" one<|im_end|>", "two <|im_end|>"]),
        (DEFAULT_SYSTEM, [" one<|im_end|>", "two <|im_end|>"]),
        (LLAMA3, ["one<|im_end|>", "two<|im_end|>"]),
        (MISTRAL, [" one<|im_end|>", "two <|im_end|>"]),
        (THINKING, [" one<|im_end|>", "<think>\n\n</think>\n\ntwo <|im_end|>"]),
        (NO_END, [" one\n\n", "two \n\n"]),
    ],
    ids=["chatml", "default system", "llama 3", "mistral", "thinking", "no end token"],
)
def test_templates_of_many_kinds(tokenizer: Any, template: str, expected: list[str]) -> None:
    tokenizer.chat_template = template
    assert answers(tokenizer, chat("who", " one", "what", "two ")) == expected


def test_an_answer_with_the_templates_own_marks_keeps_its_end(tokenizer: Any) -> None:
    assert answers(tokenizer, chat("a<|im_end|>\n", "b<|im_end|>\nc", "b", "\ue000answer\ue001")) == [
        "b<|im_end|>\nc<|im_end|>",
        "\ue000answer\ue001<|im_end|>",
    ]


def test_answers_in_a_row_and_at_the_start(tokenizer: Any) -> None:
    messages = tuple(Message(role="assistant", content=text) for text in ("x", "x"))
    assert answers(tokenizer, messages) == ["x<|im_end|>", "x<|im_end|>"]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "has no chat template.*model.chat_template=TEMPLATE"),
        ("{{ raise_exception('no') }}", "row 1: the chat template refuses a conversation of user, assistant: no"),
        ("{{ unclosed", "row 1: the chat template refuses"),
        (LENGTH_FIRST, r"row 1: the chat template hides where the answer of messages\[1\] lies"),
        ("{{ messages[0].content }}", r"row 1: the chat template hides where the answer of messages\[1\] lies"),
    ],
    ids=["none", "raises", "broken", "depends on the answer", "leaves answers out"],
)
def test_a_template_that_cannot_be_used(tokenizer: Any, template: str | None, message: str) -> None:
    tokenizer.chat_template = template
    with pytest.raises(TemplateError, match=message):
        list(label_rows([Row(messages=chat("a", "b"))], tokenizer, 100))


def test_a_token_across_the_border_belongs_to_the_header() -> None:
    offsets = np.asarray([(0, 4), (4, 6), (6, 9), (9, 9), (9, 12)])
    assert learnt(offsets, [(5, 9)]).tolist() == [False, False, True, True, False]


def test_a_space_without_width_belongs_to_what_it_ends() -> None:
    offsets = np.asarray([(0, 4), (5, 5), (5, 7), (8, 8), (8, 9)])
    assert learnt(offsets, [(5, 8)]).tolist() == [False, False, True, True, False]


def test_plain_text_is_learnt_whole_and_ended(tokenizer: Any) -> None:
    whole, ended = label_rows([Row(text="list of names"), Row(text="key<|im_end|>")], tokenizer, 100)
    assert tokenizer.decode(whole.ids) == "list of names<|im_end|>"
    assert whole.labels.tolist() == [IGNORED, *whole.ids[1:].tolist()]
    assert tokenizer.decode(ended.ids) == "key<|im_end|>"


def test_long_rows_are_cut_at_the_end(tokenizer: Any) -> None:
    row = Row(messages=chat("who", "list of names"))
    (whole,) = label_rows([row], tokenizer, 100)
    (cut,) = label_rows([row], tokenizer, len(whole.ids) - 3)
    assert cut.cut
    assert cut.ids.tolist() == whole.ids[:-3].tolist()
    assert cut.labels.tolist() == whole.labels[:-3].tolist()
    (nothing,) = label_rows([row], tokenizer, 4)
    assert nothing.trained == 0


def test_many_rows_come_out_in_order(tokenizer: Any) -> None:
    rows = [Row(messages=chat("who", f"name {number}")) for number in range(1100)]
    samples = list(label_rows(rows, tokenizer, 100))
    assert len(samples) == 1100
    assert [tokenizer.decode(s.ids[s.labels != IGNORED]) for s in samples[::549]] == [
        f"name {number}<|im_end|>" for number in (0, 549, 1098)
    ]
