"""format=chat: names of keys and roles, what is learnt, and what a template is given."""

from typing import Any

import pytest

from conf.schema.data import RowsConfig
from tests import tiny
from trainer.data.formats import FormatUnusable, Reader
from trainer.data.labels import IGNORED, label_rows
from trainer.data.rows import BadRow, Row

SHARED = {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}
CHAT = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
QA = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
TOOLED = (
    "{% if tools %}{{ tools | length }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content }}{% if m.tool_calls %}"
    "{{ '[' + m.tool_calls[0].function.name + ']' }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def read(value: dict[str, Any], learn_all: bool = False, **how: Any) -> Row:
    return Reader(RowsConfig(**how), "sft", learn_all).row(value)


def said(row: Row) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in row.messages]


@pytest.mark.parametrize("format", ["auto", "chat"])
def test_sharegpts_names_are_known(format: str) -> None:
    assert said(read(SHARED, format=format)) == [("user", "q"), ("assistant", "a")]
    assert read(SHARED, format=format).learn == (False, True)


def test_pairs_are_recognised() -> None:
    assert read({"prompt": "q", "completion": "a"}).messages == tuple(QA)
    assert read({"question": "q", "answer": "a"}).messages == tuple(QA)
    before = [*QA, {"role": "user", "content": "r"}]
    row = read({"prompt": before, "completion": [{"role": "assistant", "content": "b"}]})
    assert row.learn == (False, False, False, True)


def test_names_of_ones_own() -> None:
    value = {"chat": [{"who": "me", "says": "q"}, {"who": "it", "says": "a"}]}
    how: dict[str, Any] = {"format": "chat", "field_messages": "chat", "field_role": "who", "field_content": "says"}
    assert said(read(value, roles={"me": "user", "it": "assistant"}, **how)) == [("user", "q"), ("assistant", "a")]
    with pytest.raises(
        BadRow, match=r'`chat\[0\].who` is "me": allowed are system, user, assistant, tool, it; data.roles'
    ):
        read(value, roles={"it": "assistant"}, **how)
    with pytest.raises(BadRow, match=r"has no key `messages` \(it has \"chat\"\): add it, or give data.field_messages"):
        read(value, format="chat")


def test_the_system_message() -> None:
    own = {"messages": [{"role": "system", "content": "s"}, *QA]}
    assert said(read(CHAT, format="chat", system="t"))[0] == ("system", "t")
    assert said(read(own, format="chat", system="t"))[0] == ("system", "s")
    assert said(read(own, format="chat", drop_system=True))[0] == ("user", "q")
    assert said(read(own, format="chat", drop_system=True, system="t"))[0] == ("system", "t")
    assert said(read(CHAT | {"system": "r"}, format="chat", system="t"))[0] == ("system", "r")
    assert read(CHAT, format="chat", system="t").learn == (False, False, True)


def test_what_is_learnt() -> None:
    own = {"messages": [{"role": "system", "content": "s"}, *QA]}
    assert read(own, format="chat").learn == (False, False, True)
    assert read(own, format="chat", learn_roles=["user"]).learn == (False, True, False)
    assert read(SHARED, format="chat", learn_roles=["human", "gpt"]).learn == (True, True)
    assert read(own, format="chat", learn_all=True).learn == (True, True, True)
    flagged = {"messages": [QA[0] | {"train": True}, QA[1] | {"train": False}, QA[0], QA[1]]}
    row = read(flagged, format="chat", field_learn="train", learn_all=False)
    assert row.learn == (True, False, False, True)
    assert row.messages[0] == QA[0]
    with pytest.raises(BadRow, match=r'`messages\[0\].train` is "yes": give true or false'):
        read({"messages": [QA[0] | {"train": "yes"}]}, format="chat", field_learn="train")
    assert Reader(RowsConfig(format="chat"), "pretrain").row(CHAT).everything


def test_what_auto_refuses_chat_leaves_to_the_template() -> None:
    late = {"messages": [*QA, {"role": "system", "content": "s"}]}
    assert len(read(late, format="chat").messages) == 3
    with pytest.raises(BadRow, match="only the first message may be"):
        read(late)
    empty = {"messages": [QA[0], {"role": "assistant", "content": ""}]}
    assert said(read(empty, format="chat"))[1] == ("assistant", "")
    parts = {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]}
    assert said(read(parts, format="chat")) == [("user", "ab")]


def test_an_unknown_template_is_named() -> None:
    with pytest.raises(FormatUnusable, match=r"data.chat_template=chatlm: there is no shipped chat template 'chatlm'"):
        Reader(RowsConfig(chat_template="chatlm"), "sft")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny._tokenizer()


def learnt(tokenizer: Any, row: Row) -> str:
    (sample,) = label_rows([row], tokenizer, 100)
    return str(tokenizer.decode(sample.ids[sample.labels != IGNORED]))


@pytest.mark.train
@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({}, "a<|im_end|>b<|im_end|>"),
        ({"learn_end": "none"}, "ab"),
        ({"learn_end": "last"}, "ab<|im_end|>"),
        ({"learn_end": "all"}, "<|im_end|>a<|im_end|><|im_end|>b<|im_end|>"),
        ({"learn_roles": ["user"]}, "q<|im_end|>r<|im_end|>"),
        ({"learn_roles": ["user"], "learn_end": "last"}, "qr<|im_end|>"),
        ({"learn_roles": []}, ""),
    ],
)
def test_labels_follow_roles_and_ends(tokenizer: Any, how: dict[str, Any], expected: str) -> None:
    turns = [*QA, {"role": "user", "content": "r"}, {"role": "assistant", "content": "b"}]
    assert learnt(tokenizer, read({"messages": turns}, format="chat", **how)) == expected


@pytest.mark.train
def test_pretraining_on_a_chat_learns_all_of_it(tokenizer: Any) -> None:
    (sample,) = label_rows([Reader(RowsConfig(format="chat"), "pretrain").row(CHAT)], tokenizer, 100)
    assert (sample.labels[1:] == sample.ids[1:]).all()
    assert tokenizer.decode(sample.ids) == "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n"


@pytest.mark.train
def test_each_set_may_have_its_own_template(tokenizer: Any) -> None:
    rows = [read(CHAT, format="chat"), read(CHAT, format="chat", chat_template="mistral_v3_tekken")]
    texts = [tokenizer.decode(sample.ids) for sample in label_rows(rows, tokenizer, 100)]
    assert texts[0].startswith("<|im_start|>user")
    assert texts[1] == "<|endoftext|>[INST]q[/INST]a<|im_end|>"


@pytest.mark.train
def test_tools_and_their_calls_reach_the_template(tokenizer: Any) -> None:
    call = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"function": {"name": "sum", "arguments": '{"a": 1}'}}],
    }
    turns = [QA[0], call, {"role": "tool", "content": "3"}, QA[1]]
    row = read({"messages": turns, "tools": '[{"name": "sum"}]'}, format="chat", chat_template=TOOLED)
    assert row.tools == ({"name": "sum"},)
    assert row.messages[1]["tool_calls"][0]["function"]["arguments"] == {"a": 1}
    (sample,) = label_rows([row], tokenizer, 100)
    assert tokenizer.decode(sample.ids).startswith("1<|im_start|>user")
    assert tokenizer.decode(sample.ids[sample.labels != IGNORED]) == "[sum]<|im_end|>a<|im_end|>"
    with pytest.raises(BadRow, match="arguments` is text that is not JSON"):
        broken = {"function": {"name": "sum", "arguments": "{"}}
        read({"messages": [call | {"tool_calls": [broken]}]}, format="chat")
