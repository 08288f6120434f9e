"""Rules of how a row becomes text: formats, prompts, chat templates, and what is learnt."""

from collections.abc import Iterator

from conf.schema.data import RowsConfig
from conf.schema.problems import did_you_mean
from conf.schema.rules.reading import is_set, spelled, value_at
from conf.schema.rules.registry import Finding, rule
from conf.schema.run import RunConfig
from conf.schema.templates import is_name, shipped_prompts, shipped_templates

_OWN = "tokenizer"
"""Value of model.chat_template that stands for the model's own."""


def sets_of(config: RunConfig) -> Iterator[tuple[str, RowsConfig]]:
    """Every set of rows with the field that it stands in: `data`, or `data.sets` and `data.eval_sets` with a number."""
    yield "data", config.data
    for field, sets in (("data.sets", config.data.sets), ("data.eval_sets", config.data.eval_sets)):
        for number, rows in enumerate(sets, start=1):
            yield f"{field}: item {number}", rows


@rule(
    "template-unknown",
    reads=("model.chat_template", "data.chat_template", "data.sets", "data.eval_sets"),
    reason="a chat template is a shipped one by name, or a text with a { in it",
    fix="name a shipped template, write its text, or leave it out for the model's own",
    fails="the run's preparation stops: there is no shipped chat template of that name",
)
def template_unknown(config: RunConfig) -> Iterator[Finding]:
    given = [("model.chat_template", config.model.chat_template)]
    given += [(_field(where, "chat_template"), rows.chat_template or _OWN) for where, rows in sets_of(config)]
    shipped = shipped_templates()
    for field, name in given:
        if name != _OWN and is_name(name) and name not in shipped:
            yield (
                field.partition(":")[0],
                f"{field}={name}: there is no chat template of that name; "
                f"{did_you_mean(name, [*shipped, _OWN]) or 'ls conf/chat_templates lists them'}",
            )


@rule(
    "prompt-unknown",
    reads=("data.format", "data.prompt", "data.sets", "data.eval_sets"),
    reason="a prompt is a shipped one by name, or a text with {instruction} in it",
    fix="name a shipped prompt, or write its text",
    fails="the run's preparation stops: there is no shipped prompt of that name, or rows without their instruction are "
    "trained on",
)
def prompt_unknown(config: RunConfig) -> Iterator[Finding]:
    shipped = shipped_prompts()
    for where, rows in sets_of(config):
        if rows.format != "prompt":
            continue
        field, text = _field(where, "prompt"), rows.prompt
        if text is None:
            yield (
                field.partition(":")[0],
                f"{_field(where, 'format')}=prompt needs a prompt: add {field}=alpaca, or its text",
            )
        elif is_name(text) and text not in shipped:
            yield (
                field.partition(":")[0],
                f"{field}={text}: there is no prompt of that name; "
                f"{did_you_mean(text, shipped) or 'ls conf/prompts lists them'}",
            )
        elif not is_name(text) and "{instruction}" not in text:
            yield field.partition(":")[0], f"{field} has no {{instruction}} in it: write where the instruction stands"


def _field(where: str, name: str) -> str:
    return f"data.{name}" if where == "data" else f"{where}, {name}"


_PROMPT = ("prompt",)
_CHAT = ("chat", "auto")
_FORMATS: dict[str, tuple[str, ...]] = {
    "prompt": _PROMPT, "prompt_without_input": _PROMPT, "system_format": _PROMPT,
    "field_text": ("text", "auto"), "field_instruction": (*_PROMPT, "auto"), "field_input": (*_PROMPT, "auto"),
    "field_output": (*_PROMPT, "auto"), "field_system": (*_PROMPT, *_CHAT), "field_segments": ("segments",),
    "system": (*_PROMPT, *_CHAT), "field_messages": _CHAT, "field_role": _CHAT, "field_content": _CHAT,
    "field_learn": _CHAT, "roles": _CHAT, "learn_roles": _CHAT, "learn_end": _CHAT, "drop_system": _CHAT,
    "chat_template": _CHAT,
}  # fmt: skip
"""Fields of a set of rows, and the formats that look at them."""


@rule(
    "format-unused",
    reads=("data.format", *(f"data.{name}" for name in _FORMATS)),
    reason="each format of rows has fields of its own",
    fix="leave the field out, or choose the format that it belongs to",
    warning=True,
)
def format_unused(config: RunConfig) -> Iterator[Finding]:
    for name, formats in _FORMATS.items():
        path = f"data.{name}"
        if config.data.format not in formats and is_set(config, path):
            yield (
                path,
                f"{spelled(path, value_at(config, path))} has no effect with data.format={config.data.format}: leave "
                f"it out, or use data.format={formats[0]}",
            )


@rule(
    "template-unused",
    reads=("model.chat_template", "model.has_chat_template", "data.format", "data.source"),
    reason="a chat template writes conversations alone",
    fix="leave model.chat_template out, or use data.format=chat",
    warning=True,
)
def template_unused(config: RunConfig) -> Iterator[Finding]:
    data, model = config.data, config.model
    # The entry of a model that has none brings one.
    chosen = model.chat_template != _OWN and model.has_chat_template
    if chosen and data.source in ("file", "hub") and data.format in ("prompt", "text", "segments", "tokens"):
        yield (
            "model.chat_template",
            f"model.chat_template has no effect on rows of data.format={data.format}: leave it out, or use "
            "data.format=chat",
        )


@rule(
    "template-missing",
    reads=("model.has_chat_template", "model.chat_template", "model.tokenizer", "data.source", "data.format",
           "data.chat_template", "data.sets", "method.objective"),
    reason="conversations are written by a chat template, which base models seldom have",
    fix="name a shipped template (model.chat_template=alpaca), or train on plain text",
    fails="the run's preparation stops: this model has no chat template",
)  # fmt: skip
def template_missing(config: RunConfig) -> Iterator[Finding]:
    model, data = config.model, config.data
    if model.has_chat_template or model.chat_template != _OWN or model.tokenizer is not None:
        return
    every = list(data.sets) if data.source == "sets" else [data]
    formats = {rows.format for rows in every if rows.chat_template is None}
    if "chat" in formats or ("auto" in formats and config.method.objective == "sft"):
        yield (
            "model.chat_template",
            f"{model.name} has no chat template of its own, and conversations need one: use model.chat_template=alpaca "
            "or another shipped one, or data.format=text",
        )


@rule(
    "pretrain-format",
    reads=("method.objective", "data.format", "data.source"),
    reason="pretraining takes rows of plain text",
    fix="use method=sft with conversations and prompts, or data.format=text",
    warning=True,
)
def pretrain_format(config: RunConfig) -> Iterator[Finding]:
    data = config.data
    if config.method.objective == "pretrain" and data.source != "python_docs" and data.format in ("chat", "prompt"):
        yield (
            "data.format",
            f"method.objective=pretrain learns every token of rows of data.format={data.format}, prompts too: use "
            "method=sft if answers alone are meant",
        )


@rule(
    "learn-unused",
    reads=("method.objective", "data.learn", "data.format", "data.source"),
    reason="pretraining learns every token, and rows of tokens say themselves which are learnt",
    fix="leave data.learn out with method=pretrain and data.format=tokens",
    warning=True,
)
def learn_unused(config: RunConfig) -> Iterator[Finding]:
    data = config.data
    if config.method.objective == "pretrain" and data.learn == "all":
        yield "data.learn", "data.learn=all has no effect with method=pretrain, which learns every token: leave it out"
    elif data.source in ("file", "hub") and data.format == "tokens" and data.learn == "all":
        yield "data.learn", "data.learn=all has no effect on rows of tokens: leave it out, or their labels"


@rule(
    "overlong-split",
    reads=("data.overlong", "data.format", "data.source"),
    reason="plain text can go on in a further row, other rows cannot",
    fix="use data.overlong=cut or drop with conversations, prompts, segments and tokens",
    warning=True,
)
def overlong_split(config: RunConfig) -> Iterator[Finding]:
    data = config.data
    if data.overlong == "split" and data.source != "sets" and data.format in ("chat", "prompt", "segments", "tokens"):
        yield (
            "data.overlong",
            f"data.overlong=split is for plain text; rows of data.format={data.format} that are too long are left out: "
            "use data.overlong=drop, or cut",
        )
