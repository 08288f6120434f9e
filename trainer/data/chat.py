"""A conversation as a chat template writes it, and which stretches of that text are learnt.

No template marks its messages, so they are found from outside. Each in turn is replaced by a mark: what stands before
the mark is its header, what stands behind it begins with the token that ends the turn. What the model would be given
to start the same answer (the generation prompt) says where learning begins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer.data.rows import LearnEnd, Message, Row
from trainer.errors import PreparationError

MARK = "\ue000answer\ue001"
"""Stands for a message's text; made of characters that text does not use."""


class TemplateError(PreparationError):
    """A chat template that is missing, fails, or does not write a conversation as it writes its beginning."""


@dataclass(frozen=True)
class Rendered:
    """A conversation as text."""

    text: str
    answers: tuple[tuple[int, int], ...]
    """Start and end, in characters, of what is learnt: messages, and tokens that end turns."""


@dataclass(frozen=True)
class _Span:
    """Where a message lies in the text: its start, its end, and the end of the token that ends its turn."""

    start: int
    content_end: int
    end: int


class Renderer:
    """A tokenizer with a chat template: its own, or one in its place."""

    def __init__(self, tokenizer: Any, template: str | None = None) -> None:
        """Raises TemplateError where there is no template."""
        self._template = template or tokenizer.chat_template
        if not self._template:
            raise TemplateError(
                "this model has no chat template (it may be a base model): give one with model.chat_template=TEMPLATE, "
                "as chatml, take the model's instruct form, or train on plain text with method=pretrain"
            )
        self._tokenizer = tokenizer
        added = {token.content for token in tokenizer.added_tokens_decoder.values()}
        special = {token for token in added.union(tokenizer.all_special_tokens) if token.strip()}
        self._special = sorted(special, key=lambda token: (-len(token), token))

    def row(self, row: Row) -> Rendered:
        """A row's conversation, as the row says what is learnt of it. Raises TemplateError."""
        if row.everything:
            text = self._text(row.messages, row.tools)
            return Rendered(text, ((0, len(text)),))
        return self.render(row.messages, row.learn, row.learn_end, row.tools)

    def render(
        self,
        messages: Sequence[Message],
        learn: Sequence[bool] | None = None,
        learn_end: LearnEnd = "turn",
        tools: tuple[Any, ...] | None = None,
    ) -> Rendered:
        """The text of a conversation, and what is learnt in it: the messages of `learn`, None those of the assistant,
        and the ends that `learn_end` names. Raises TemplateError."""
        text = self._text(messages, tools)
        flags = [m["role"] == "assistant" for m in messages] if learn is None else learn
        learnt: list[tuple[int, int]] = []
        for turn, flag in enumerate(flags):
            last = turn == len(messages) - 1
            with_end = learn_end == "all" or (flag and learn_end == "turn") or (last and learn_end == "last")
            if not flag and not with_end:
                continue
            try:
                span = self._span(messages, turn, text, tools)
            except TemplateError:
                if flag:
                    raise
                continue  # of a message that the template leaves out, or writes elsewhere, no end is to be found
            start = span.start if flag else span.content_end
            learnt.append((start, span.end if with_end else span.content_end))
        return Rendered(text, tuple(learnt))

    def _span(self, messages: Sequence[Message], turn: int, text: str, tools: tuple[Any, ...] | None) -> _Span:
        mark = MARK
        while mark in text:
            mark += MARK
        marked = [*messages[:turn], messages[turn] | {"content": mark}, *messages[turn + 1 :]]
        header, found, rest = self._text(marked, tools).partition(mark)
        if messages[turn].get("tool_calls"):
            return self._span_of_calls(messages, turn, text, header if found else None, tools)
        content_end = len(text) - len(rest)
        if not found or not text.endswith(rest):
            raise _mismatch(turn, "what follows the answer depends on the answer")
        start = self._start(messages, turn, text, header, tools)
        if start > content_end:
            raise _mismatch(turn, "the header reaches into the answer")
        return _Span(start, content_end, content_end + self._turn_end(rest))

    def _span_of_calls(
        self, messages: Sequence[Message], turn: int, text: str, header: str | None, tools: tuple[Any, ...] | None
    ) -> _Span:
        """A message that calls tools, whose text the template makes: up to where the beginning of the conversation
        ends."""
        until = self._text(messages[: turn + 1], tools)
        if not text.startswith(until):
            raise _mismatch(turn, "a later message changes how the tool calls are written")
        start = self._start(messages, turn, text, until if header is None else header, tools)
        end = len(until.rstrip())
        content_end = next((end - len(token) for token in self._special if until[:end].endswith(token)), end)
        return _Span(min(start, content_end), content_end, end)

    def _start(
        self, messages: Sequence[Message], turn: int, text: str, header: str, tools: tuple[Any, ...] | None
    ) -> int:
        """Where the generation prompt ends; where the template has none, or writes it otherwise, and of other roles,
        the header's end."""
        before = messages[:turn]
        if before and messages[turn]["role"] == "assistant":
            prompt = self._text(before, tools, prompt=True)
            if text.startswith(prompt) and prompt != self._text(before, tools):
                return len(prompt)
        if not text.startswith(header):
            raise _mismatch(turn, "what precedes the answer depends on the answer")
        return len(header)

    def _turn_end(self, rest: str) -> int:
        """Characters of `rest`, which follows a message, up to the end of the special token that it begins with.

        A template without one ends turns by blank space, which then is all that can be learnt of an end."""
        beginning = rest.lstrip()
        blank = len(rest) - len(beginning)
        return blank + next((len(token) for token in self._special if beginning.startswith(token)), 0)

    def _text(self, messages: Sequence[Message], tools: tuple[Any, ...] | None, prompt: bool = False) -> str:
        import jinja2

        try:
            text: str = self._tokenizer.apply_chat_template(
                list(messages),
                tools=None if tools is None else list(tools),
                chat_template=self._template,
                tokenize=False,
                add_generation_prompt=prompt,
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
