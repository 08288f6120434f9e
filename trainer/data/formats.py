"""From a value in a file to a row: what each format reads, and the words for what it cannot use."""

from collections.abc import Callable
from typing import Any

from conf.schema.data import RowsConfig
from conf.schema.templates import UnknownName, template_text
from trainer.data.conversations import Conversations
from trainer.data.prompts import Prompter
from trainer.data.rows import BadRow, Message, Objective, Row
from trainer.data.token_rows import token_row
from trainer.data.wording import keys, named, text_of
from trainer.errors import PreparationError

PAIRS = (("instruction", "output"), ("prompt", "completion"), ("question", "answer"))
"""Keys that format=auto takes for a question and its answer."""


class FormatUnusable(PreparationError):
    """A way of reading rows that contradicts itself."""


class Reader:
    """How the values of one set become rows."""

    def __init__(
        self, how: RowsConfig, objective: Objective, learn_all: bool = False, highest: int | None = None
    ) -> None:
        """`highest` is the tokenizer's highest number, which rows of tokens are held to; None: they are not. Raises
        PreparationError where the set's own fields cannot be used."""
        self.how = how
        self.objective = objective
        self.everything = objective == "pretrain"
        self.template = None if how.chat_template in (None, "tokenizer") else _template(str(how.chat_template))
        self.conversations = Conversations(how, learn_all)
        self.prompter = Prompter(how) if how.format == "prompt" else None
        self.learn_all = learn_all or self.everything
        self.highest = highest
        readers: dict[str, Callable[[dict[str, Any]], Row]] = {
            "auto": self._auto, "chat": self._chat, "prompt": self._prompt, "text": self._text,
            "segments": self._segments, "tokens": self._tokens,
        }  # fmt: skip
        self._read = readers[how.format]

    def row(self, value: Any) -> Row:
        """The row of a value. Raises BadRow."""
        if not isinstance(value, dict):
            raise BadRow(f"is {named(value)}, not an object: give {self.example()}")
        return self._read(value)

    def example(self) -> str:
        """A row as it could be, as JSON."""
        how = self.how
        if how.format == "segments":
            return f'{{"{how.field_segments}": [{{"text": "...", "label": true}}]}}'
        if how.format == "tokens":
            return '{"input_ids": [1, 17, 42], "labels": [-100, 17, 42]}'
        if how.format == "prompt":
            return f'{{"{how.field_instruction}": "...", "{how.field_output}": "..."}}'
        if how.format == "text" or (how.format == "auto" and self.objective == "pretrain"):
            return f'{{"{how.field_text}": "..."}}'
        role, content = how.field_role, how.field_content
        turns = ", ".join(f'{{"{role}": "{name}", "{content}": "..."}}' for name in ("user", "assistant"))
        return f'{{"{how.field_messages}": [{turns}]}}'

    def _auto(self, value: dict[str, Any]) -> Row:
        if self.objective == "pretrain":
            return self._text(value)
        if self.conversations.key(value) is not None:
            return self._chat(value)
        for question, answer in PAIRS:
            if question in value:
                return self._pair(value, question, answer)
        field = self.how.field_text
        hint = f"; `{field}` is read by data.format=text, or method=pretrain" if field in value else ""
        hint += "; `input_ids` are read by data.format=tokens" if "input_ids" in value else ""
        raise BadRow(
            f"has neither `{self.how.field_messages}` nor `instruction` and `output` (it has {keys(value)}){hint}; "
            "data.format and data.field_* say what else to read"
        )

    def _pair(self, value: dict[str, Any], question: str, answer: str) -> Row:
        if answer not in value:
            raise BadRow(f"has `{question}` but no `{answer}` (it has {keys(value)})")
        if isinstance(value[question], list):
            return self._conversation(value, [question, answer])
        prompt = text_of(value[question], question, may_be_empty=False)
        if question == "instruction" and value.get("input"):
            prompt = f"{prompt}\n\n{text_of(value['input'], 'input')}"
        said = text_of(value[answer], answer, may_be_empty=False)
        messages = (Message(role="user", content=prompt), Message(role="assistant", content=said))
        return self._row_of(*self.conversations.told(messages, value))

    def _chat(self, value: dict[str, Any]) -> Row:
        key = self.conversations.key(value)
        if key is None:
            wanted = self.how.field_messages
            raise BadRow(f"has no key `{wanted}` (it has {keys(value)}): add it, or give data.field_messages=KEY")
        return self._conversation(value, [key])

    def _conversation(self, value: dict[str, Any], parts: list[str]) -> Row:
        return self._row_of(*self.conversations.read(value, parts))

    def _row_of(self, messages: tuple[Message, ...], learn: tuple[bool, ...], tools: tuple[Any, ...] | None) -> Row:
        return Row(
            messages=messages,
            learn=learn,
            learn_end=self.how.learn_end,
            tools=tools,
            template=self.template,
            everything=self.everything,
        )

    def _prompt(self, value: dict[str, Any]) -> Row:
        assert self.prompter is not None, "the constructor makes one for this format"
        return Row(asked=self.prompter.fill(value), everything=self.learn_all)

    def _text(self, value: dict[str, Any]) -> Row:
        key = self.how.field_text
        if key not in value:
            reads = "method=pretrain" if self.how.format == "auto" else "data.format=text"
            fix = "add it, or method=sft" if self.how.format == "auto" else "add it, or give data.field_text=KEY"
            raise BadRow(f"has no key `{key}`, which {reads} reads (it has {keys(value)}): {fix}")
        return Row(text=text_of(value[key], key, may_be_empty=False))

    def _segments(self, value: dict[str, Any]) -> Row:
        key = self.how.field_segments
        found = value.get(key)
        if not isinstance(found, list) or not found:
            raise BadRow(f"`{key}` is {named(found)}: give an array of {{text, label: true or false}}")
        pieces = []
        for index, piece in enumerate(found):
            if not isinstance(piece, dict) or not isinstance(piece.get("label"), bool):
                raise BadRow(f"`{key}[{index}]` has no `label` of true or false: give {{text, label}}")
            pieces.append((text_of(piece.get("text"), f"{key}[{index}].text"), piece["label"]))
        return Row(segments=tuple(pieces), everything=self.learn_all)

    def _tokens(self, value: dict[str, Any]) -> Row:
        return token_row(value, self.highest)


def _template(value: str) -> str:
    try:
        return template_text(value)
    except UnknownName as error:
        raise FormatUnusable(f"data.chat_template={value}: {error}") from error
