"""Texts that ship with the tool: chat templates and prompt styles, each found by its name."""

from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import yaml

TEMPLATES = Path(__file__).parents[1] / "chat_templates"
"""Folder of chat templates, one Jinja file a name. Formats are as published with the models; each file says what it
leaves out."""
PROMPTS = Path(__file__).parents[1] / "prompts"
"""Folder of prompt styles, one YAML file a name. Their texts are those of Axolotl's instruction types
(github.com/axolotl-ai-cloud/axolotl: src/axolotl/prompters.py and prompt_strategies/), byte for byte."""
OUTPUT = "{output}"


class UnknownName(ValueError):
    """A name that no shipped text has. `known` holds those that there are."""

    def __init__(self, kind: str, name: str, known: list[str]) -> None:
        self.name = name
        self.known = known
        near = get_close_matches(name, known, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        super().__init__(
            f"there is no shipped {kind} {name!r}{hint}: use one of {', '.join(known)}, or give the text itself, which "
            "has a { in it"
        )


@dataclass(frozen=True)
class PromptStyle:
    """How a row of fields becomes a prompt and an answer. The texts have {names} of fields in them."""

    prompt: str
    prompt_without_input: str
    """For rows whose input is empty or missing."""
    answer: str = OUTPUT
    system_format: str = "{system}"
    """How a system text is written before the prompt, unless the prompt has {system} in it."""
    joined: bool = False
    """Whether prompt and answer are tokenised as one text, so that a token may lie across their border."""
    fields: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Each name in the texts with the keys of a row that may hold it, the first that is there."""

    def keys(self, name: str) -> tuple[str, ...]:
        """Keys of a row that may hold a name; empty where the style does not know it."""
        return dict(self.fields).get(name, ())


def shipped_templates() -> dict[str, Path]:
    """The chat templates that model.chat_template and data.chat_template take by name."""
    return _listed(TEMPLATES, "*.jinja")


def shipped_prompts() -> dict[str, Path]:
    """The prompt styles that data.prompt takes by name."""
    return _listed(PROMPTS, "*.yaml")


@cache
def _listed(folder: Path, pattern: str) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob(pattern))}


def is_name(value: str) -> bool:
    """Whether a value is meant as the name of a shipped text, not as the text itself."""
    return "{" not in value


def template_text(value: str) -> str:
    """A chat template's text, given by a shipped name or as the text. Raises UnknownName."""
    if not is_name(value):
        return value
    shipped = shipped_templates()
    if value not in shipped:
        raise UnknownName("chat template", value, list(shipped))
    return shipped[value].read_text(encoding="utf-8")


def prompt_style(value: str) -> PromptStyle:
    """A prompt style, given by a shipped name or as the prompt's text. Raises UnknownName."""
    if not is_name(value):
        return PromptStyle(value, value)
    shipped = shipped_prompts()
    if value not in shipped:
        raise UnknownName("prompt", value, list(shipped))
    return _read(shipped[value])


def prompt_text(value: str) -> str:
    """A prompt's text, given by a shipped name or as the text. Raises UnknownName."""
    return prompt_style(value).prompt


@cache
def _read(path: Path) -> PromptStyle:
    told: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    fields = {name: (key,) if isinstance(key, str) else tuple(key) for name, key in told["fields"].items()}
    return PromptStyle(
        prompt=told["prompt"],
        prompt_without_input=told.get("prompt_without_input", told["prompt"]),
        answer=told.get("answer", OUTPUT),
        system_format=told.get("system_format", "{system}"),
        joined=told.get("joined", False),
        fields=tuple(fields.items()),
    )
