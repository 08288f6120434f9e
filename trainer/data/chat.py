"""A conversation as the model's chat template writes it, and which stretches of that text are answers to learn.

No template marks its answers, so they are found from outside. Each answer in turn is replaced by a mark: what stands
before the mark is its header, what stands behind it begins with the token that ends the turn. What the model would be
given to start the same answer (the generation prompt) says where learning begins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer.data.rows import Message
from trainer.errors import PreparationError

MARK = "\ue000answer\ue001"
"""Stands for an answer; made of characters that text does not use."""


class TemplateError(PreparationError):
    """A chat template that is missing, fails, or does not write a conversation as it writes its beginning."""


@dataclass(frozen=True)
class Rendered:
    """A conversation as text."""

    text: str
    answers: tuple[tuple[int, int], ...]
    """Start and end, in characters, of what is learnt: each answer and the token that ends its turn."""


class Renderer:
    """One tokenizer's chat template."""

    def __init__(self, tokenizer: Any) -> None:
        """Raises TemplateError where the tokenizer has no template."""
        if not tokenizer.chat_template:
            raise TemplateError(
                "this model has no chat template (it may be a base model): give one with model.chat_template=TEMPLATE, "
                "take the model's instruct form, or train on plain text with method=pretrain"
            )
        self._tokenizer = tokenizer
        added = {token.content for token in tokenizer.added_tokens_decoder.values()}
        special = {token for token in added.union(tokenizer.all_special_tokens) if token.strip()}
        self._special = sorted(special, key=lambda token: (-len(token), token))

    def render(self, messages: Sequence[Message]) -> Rendered:
        """The text of a conversation, and its answers in it. Raises TemplateError."""
        text = self._text(messages)
        answers = [self._answer(messages, turn, text) for turn, m in enumerate(messages) if m["role"] == "assistant"]
        return Rendered(text, tuple(answers))

    def _answer(self, messages: Sequence[Message], turn: int, text: str) -> tuple[int, int]:
        mark = MARK
        while mark in text:
            mark += MARK
        marked = [*messages[:turn], Message(role="assistant", content=mark), *messages[turn + 1 :]]
        header, found, rest = self._text(marked).partition(mark)
        content_end = len(text) - len(rest)
        if not found or not text.endswith(rest):
            raise _mismatch(turn, "what follows the answer depends on the answer")
        start = self._start(messages, turn, text, header)
        if start > content_end:
            raise _mismatch(turn, "the header reaches into the answer")
        return start, content_end + self._turn_end(rest)

    def _start(self, messages: Sequence[Message], turn: int, text: str, header: str) -> int:
        """Where the generation prompt ends; where the template has none, or writes it otherwise, the header's end."""
        before = messages[:turn]
        if before:
            prompt = self._text(before, prompt=True)
            if text.startswith(prompt) and prompt != self._text(before):
                return len(prompt)
        if not text.startswith(header):
            raise _mismatch(turn, "what precedes the answer depends on the answer")
        return len(header)

    def _turn_end(self, rest: str) -> int:
        """Characters of `rest`, which follows an answer, up to the end of the special token that it begins with.

        A template without one ends turns by blank space, which then is all that can be learnt of an end."""
        beginning = rest.lstrip()
        blank = len(rest) - len(beginning)
        return blank + next((len(token) for token in self._special if beginning.startswith(token)), 0)

    def _text(self, messages: Sequence[Message], prompt: bool = False) -> str:
        import jinja2

        try:
            text: str = self._tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=prompt
            )
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, IndexError) as error:
            roles = ", ".join(message["role"] for message in messages)
            raise TemplateError(f"the chat template refuses a conversation of {roles}: {error}") from error
        return text


def _mismatch(turn: int, why: str) -> TemplateError:
    return TemplateError(
        f"the chat template hides where the answer of messages[{turn}] lies ({why}): give another template with "
        "model.chat_template=TEMPLATE, or rows with one answer each"
    )
