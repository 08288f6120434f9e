"""format=prompt: fields of a row put into a prompt's text, and the answer that belongs to it."""

import string
from collections.abc import Mapping
from typing import Any

from conf.schema.data import RowsConfig
from conf.schema.templates import UnknownName, prompt_style
from trainer.data.rows import Asked, BadRow
from trainer.data.wording import keys, text_of
from trainer.errors import PreparationError

_OWN = {
    "instruction": "field_instruction", "input": "field_input", "output": "field_output", "system": "field_system",
}  # fmt: skip
"""Fields of the schema that say which key of a row holds a name."""
_DEFAULTS = {name: str(RowsConfig.model_fields[field].default) for name, field in _OWN.items()}


class PromptUnusable(PreparationError):
    """A prompt that is not named, not known, or cannot be filled in."""


class Prompter:
    """What data.prompt and the fields beside it make of a row."""

    def __init__(self, how: RowsConfig) -> None:
        """Raises PromptUnusable."""
        if how.prompt is None:
            raise PromptUnusable("data.format=prompt needs data.prompt: a shipped name, as alpaca, or a text")
        try:
            self.style = prompt_style(how.prompt)
        except UnknownName as error:
            raise PromptUnusable(f"data.prompt={how.prompt}: {error}") from error
        without = how.prompt_without_input
        self.with_input = _Text(self.style.prompt, "data.prompt")
        self.without_input = _Text(self.style.prompt_without_input if without is None else without, "data.prompt")
        self.answer = _Text(self.style.answer, "data.prompt")
        form = how.system_format if how.system_format != "{system}" else self.style.system_format
        self.system_form = _Text(form, "data.system_format")
        self.system = how.system or ""
        self.places = {name: self._keys(name, how) for name in _OWN}

    def fill(self, value: Mapping[str, Any]) -> Asked:
        """The prompt and the answer of a row. Raises BadRow."""
        named = {"input": self._input(value), "system": self._system(value)}
        if self.answer.needs("output"):
            named["output"] = self._required("output", value)
        text = self.with_input if named["input"] else self.without_input
        for name in text.names | self.answer.names:
            if name not in named:
                named[name] = self._required(name, value)
        prompt = text.filled(named)
        if named["system"] and not text.needs("system"):
            prompt = self.system_form.filled(named) + prompt
        # A style of several answers writes them all or none.
        whole = all(named[name] for name in self.answer.names) or len(self.answer.names) < 2
        return Asked(prompt, self.answer.filled(named) if whole else "", self.style.joined)

    def _keys(self, name: str, how: RowsConfig) -> tuple[str, ...]:
        own = str(getattr(how, _OWN[name]))
        if own != _DEFAULTS[name] or not self.style.fields:
            return (own,)
        return self.style.keys(name)

    def _input(self, value: Mapping[str, Any]) -> str:
        for key in self.places["input"]:
            found = value.get(key)
            if isinstance(found, list):
                # A choice of answers, one on each line.
                return "\n".join(f'- "{item}"' for item in found)
            if found is not None:
                return text_of(found, key)
        return ""

    def _system(self, value: Mapping[str, Any]) -> str:
        for key in self.places["system"]:
            if value.get(key) is not None:
                return text_of(value[key], key)
        return self.system

    def _required(self, name: str, value: Mapping[str, Any]) -> str:
        places = self.places.get(name) or self.style.keys(name) or (name,)
        for key in places:
            if key in value:
                return text_of(value[key], key)
        wanted = " or ".join(f"`{key}`" for key in places)
        field = f"data.{_OWN[name]}=KEY" if name in _OWN else "another data.prompt"
        raise BadRow(
            f"has no key {wanted}, which the prompt reads (it has {keys(dict(value))}): add it, or give {field}"
        )


class _Text:
    """A text with {names} in it, written as Python's format strings: `{{` is a brace."""

    def __init__(self, text: str, field: str) -> None:
        try:
            parsed = list(string.Formatter().parse(text))
        except ValueError as error:
            raise PromptUnusable(f"{field}={text!r} cannot be read ({error}): write {{{{ for a brace itself") from error
        self.parts = [(literal, name) for literal, name, _, _ in parsed]
        for _, name, form, conversion in parsed:
            if name is not None and (form or conversion or not name.isidentifier()):
                raise PromptUnusable(f"{field}: {{{name}}} is no name of a field: write {{{{ for a brace itself")
        self.names = {name for _, name in self.parts if name is not None}

    def needs(self, name: str) -> bool:
        return name in self.names

    def filled(self, named: Mapping[str, str]) -> str:
        return "".join(literal + ("" if name is None else named[name]) for literal, name in self.parts)
