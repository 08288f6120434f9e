"""Group `data`: the rows, how they are read, and how they become token sequences."""

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from conf.schema.base import SHORT_NAME, Group, operational

Format = Literal["auto", "chat", "prompt", "text", "segments", "tokens"]


class RowsConfig(Group):
    """One set of rows: where it lies and how a row is read."""

    path: str | None = operational(None)
    """source=file: a file (.jsonl, .json, .parquet, .arrow, .csv, .txt), a folder of such files, or a pattern with `*`;
    its digest, not its place, is part of the identity. Or an address (s3, gs, az, http, https) of such files, which is
    part of the identity itself. source=hub: a dataset's hub id (`owner/name`)."""
    subset: str | None = None
    """Configuration of a hub dataset, as its page names it."""
    split: str = "train"
    """Split that is read, of a hub dataset or a saved one; slices as `train[:10%]` are understood, of files too."""
    revision: str | None = None
    """Branch, tag or commit of a hub dataset."""
    files: list[str] = Field(default_factory=list)
    """Files within a hub dataset or a folder; empty: all."""
    shards: PositiveInt | None = None
    """Shuffle the set (seed 0), cut it into so many equal parts and use one, number data.shard; with data.streaming
    every so manieth row."""
    shard: NonNegativeInt = 0
    """Which part of data.shards is used, counted from 0."""
    skip: NonNegativeInt = 0
    """Rows left out at the front."""
    limit: PositiveInt | None = None
    """Rows used, from the front; None: all."""
    format: Format = "auto"
    """auto: `messages` or `conversations`, `instruction` and `output`, `prompt` and `completion`, `question` and
    `answer`, or with method=pretrain `text`, whichever a row has; rows without an answer are refused. chat:
    messages, rendered by the chat template. prompt: fields put into data.prompt, then the answer, as plain text without
    a chat template. text: plain text, all of it learnt. segments: a list of pieces of text, each learnt or not. tokens:
    rows of this tokenizer's numbers: `input_ids`, and `labels` (-100: not learnt; without them all is) and
    `attention_mask` where a row has them; data.learn does not count."""
    prompt: str | None = None
    """format=prompt: name of a shipped prompt (conf/prompts/, as `alpaca`), or text with {instruction}, {input} and
    {system} in it."""
    prompt_without_input: str | None = None
    """format=prompt: the text for rows whose input is empty; None takes the shipped prompt's own, or data.prompt."""
    system: str | None = None
    """format=prompt: stands for {system} in rows that have none. format=chat: first message of rows without one."""
    system_format: str = "{system}"
    """format=prompt: how the system text is written before the prompt."""
    field_text: str = "text"
    """format=text: key of the text."""
    field_instruction: str = "instruction"
    """format=prompt: key of the instruction."""
    field_input: str = "input"
    """format=prompt: key of the further input, which may be missing."""
    field_output: str = "output"
    """format=prompt: key of the answer."""
    field_system: str = "system"
    """format=prompt, chat: key of a row's own system text, which may be missing."""
    field_messages: str = "messages"
    """format=chat: key of the list of messages."""
    field_role: str = "role"
    """format=chat: key of a message's role."""
    field_content: str = "content"
    """format=chat: key of a message's text."""
    field_learn: str | None = None
    """format=chat: key in a message that says by true or false whether it is learnt; where a message has it, it stands
    above data.learn_roles."""
    field_segments: str = "segments"
    """format=segments: key of the list of {text, label: true or false}."""
    roles: dict[str, str] = Field(default_factory=dict)
    """format=chat: other names of roles, as `{human: user, gpt: assistant}`; these two, and `bot`, `model` for
    assistant, are known without it."""
    learn_roles: list[str] = Field(default_factory=lambda: ["assistant"])
    """format=chat: roles whose messages are learnt."""
    learn_end: Literal["turn", "all", "last", "none"] = "turn"
    """format=chat: which tokens that end a message are learnt: turn: of learnt messages. all: of all. last: of the
    last message alone. none: none."""
    drop_system: bool = False
    """format=chat: leave system messages out."""
    chat_template: str | None = None
    """format=chat: template of this set alone, as in model.chat_template; None takes that one."""


class RowSet(RowsConfig):
    """One of several sets of rows in data.sets."""

    source: Literal["file", "hub"] = "file"
    """file: data files on this machine. hub: a dataset of the hub."""


class DataConfig(RowsConfig):
    """What the model is trained on."""

    name: str = operational("python_docs", pattern=SHORT_NAME)
    """Short name, part of the run id: up to 40 letters, digits, dots, dashes and underscores."""
    source: Literal["python_docs", "file", "hub", "sets"] = "python_docs"
    """python_docs: questions answered by the standard library's docstrings. file: data files at data.path. hub: the
    hub's dataset data.path. sets: all of data.sets."""
    sets: list[RowSet] = Field(default_factory=list)
    """source=sets: several sets of rows, one after the other, each with its own format; written as
    `data.sets=[{path: a.jsonl}, {source: hub, path: owner/name, format: chat}]`, or in a file."""
    eval_path: str | None = operational(None)
    """File of held-out rows, read as data.path is; None splits them off."""
    eval_sets: list[RowSet] = Field(default_factory=list)
    """Sets of held-out rows; empty splits them off, or takes data.eval_path."""
    eval_fraction: float = Field(0.05, ge=0.0, lt=1.0)
    """Share of the rows held out for evaluation where none are named; 0 switches evaluation off."""
    eval_rows: PositiveInt | None = None
    """Number of rows held out, in place of data.eval_fraction."""
    digest: str | None = None
    """Derived: digest of the rows' source. Not for typing."""
    max_length: PositiveInt = 1024
    """Longest sequence in tokens."""
    overlong: Literal["cut", "drop", "split"] = "cut"
    """Rows longer than data.max_length. cut: their end is lost. drop: left out. split: plain text goes on in a further
    row, without loss; other rows are left out."""
    learn: Literal["answers", "all"] = "answers"
    """Tokens with a loss. answers: what the model is to say. all: prompts too, and in a chat the messages of every
    role. With method=pretrain always every token."""
    packing: bool = False
    """Put several rows into one sequence of max_length; attention stays within each row."""
    order: Literal["random", "length", "sequential"] = "random"
    """Order of rows. random: a new shuffle in each pass. length: like lengths together in a batch, in random order.
    sequential: as they stand."""
    deduplicate: bool = False
    """Leave out rows that are equal to an earlier one."""
    streaming: bool = False
    """Read no more rows than method.max_steps needs, for corpora that are too large to be prepared whole."""
    epochs: PositiveFloat = operational(1.0)
    """Passes over these rows that make sense where method.epochs is not given."""
