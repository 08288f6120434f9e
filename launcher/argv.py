"""The command line before Hydra: which verb, which of our flags, which of Hydra's, and what is left as overrides."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conf.schema.problems import did_you_mean
from launcher.errors import InputError

HYDRA_FLAGS = {
    "--cfg": 1,
    "-c": 1,
    "--package": 1,
    "-p": 1,
    "--resolve": 0,
    "--info": -1,
    "-i": -1,
    "--hydra-help": 0,
    "--shell-completion": 0,
    "-sc": 0,
    "--version": 0,
}
"""Flags that Hydra answers itself, with the number of their values; -1: one of INFO or none."""
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
_OURS = ("--json", "--multirun", "--wait", "--hold", "--help", "--config-dir")


@dataclass(frozen=True)
class Line:
    """What `submit` and `plan` were given."""

    overrides: tuple[str, ...] = ()
    """key=value words, as typed, in order."""
    multirun: bool = False
    """Whether a sweep is asked for: -m or --multirun stood anywhere, or an option of the group `sweep` was chosen."""
    wait: bool = False
    """Sweeps: whether to return when all trials have ended."""
    hold: bool = False
    """Sweeps: whether the jobs are submitted held."""
    json: bool = False
    """Whether one JSON document is wanted on stdout."""
    help: bool = False
    """Whether help is wanted."""
    config_dir: Path | None = None
    """Folder of the user's own option groups."""
    hydra: tuple[str, ...] = ()
    """Hydra's own flags with their values; where there are any, Hydra answers."""


def is_word(token: str) -> bool:
    """Whether a token can be a verb: neither a flag nor an override."""
    return bool(token) and token[0] not in "-+~" and "=" not in token


def split_verb(argv: Sequence[str]) -> tuple[str | None, list[str]]:
    """The verb and everything else; None where there is no verb. Only flags may stand before it."""
    for position, token in enumerate(argv):
        if is_word(token):
            before = argv[:position]
            if all(flag in ("--json", "-m", "--multirun") for flag in before):
                return token, [*before, *argv[position + 1 :]]
        if not token.startswith("-"):
            break
    return None, list(argv)


def parse(argv: Sequence[str]) -> Line:
    """Sort the words of a line; InputError for a flag that nobody knows, or one without its value."""
    overrides: list[str] = []
    hydra: list[str] = []
    seen: set[str] = set()
    folder: str | None = None
    words = [_readable(word) for word in argv]
    while words:
        word = words.pop(0)
        flag, given, value = word.partition("=")
        if not word.startswith("-") or "-sc" in seen:
            # After -sc come Hydra's own words (`install=bash`, `query=bash`).
            (hydra if "-sc" in seen else overrides).append(word)
        elif flag in ("--config-dir", "-cd"):
            folder = value if given else _value(flag, words)
        elif flag in HYDRA_FLAGS:
            hydra.append(word)
            takes = 0 if given else HYDRA_FLAGS[flag]
            if takes == 1:
                hydra.append(_value(flag, words))
            elif takes == -1 and words and words[0] in INFO:
                hydra.append(words.pop(0))
            seen.add("-sc" if flag == "--shell-completion" else flag)
        elif word in ("-m", "--multirun", "--json", "--wait", "--hold", "-h", "--help"):
            seen.add({"-m": "--multirun", "-h": "--help"}.get(word, word))
        else:
            guess = did_you_mean(flag, [*_OURS, *HYDRA_FLAGS])
            raise InputError(f"unknown flag {word}: {guess or '`python -m launcher --help` lists them'}")
    return Line(
        overrides=tuple(overrides),
        multirun="--multirun" in seen or any(word.lstrip("+").startswith("sweep=") for word in overrides),
        wait="--wait" in seen,
        hold="--hold" in seen,
        json="--json" in seen,
        help="--help" in seen,
        config_dir=own_folder(folder),
        hydra=tuple(hydra),
    )


def single(line: Line) -> Line:
    """The line of one run; InputError where it asks for several, or for what several runs alone can do."""
    if line.multirun:
        raise InputError("-m: several runs are submitted or planned; this verb takes one: leave -m and sweep= out")
    for flag, given in (("--wait", line.wait), ("--hold", line.hold)):
        if given:
            raise InputError(f"{flag} is for several runs: add -m, or leave it out")
    return line


def _value(flag: str, words: list[str]) -> str:
    if not words or words[0].startswith("-"):
        raise InputError(f"{flag} needs a value: {flag} VALUE")
    return words.pop(0)


def _readable(word: str) -> str:
    """The word, or InputError where it is not UTF-8: it could not be written into a config."""
    try:
        word.encode()
    except UnicodeEncodeError:
        raise InputError(f"{os.fsencode(word)!r} is not UTF-8 text: rename the file, or type it as UTF-8") from None
    return word


def own_folder(text: str | None) -> Path | None:
    """The folder of the user's own options: the one given, else SLURMWRIGHT_CONFIG_DIR's; InputError without it."""
    text = text or os.environ.get("SLURMWRIGHT_CONFIG_DIR")
    if not text:
        return None
    path = Path(text).expanduser().absolute()
    if not path.is_dir():
        raise InputError(
            f"--config-dir {text}: there is no such folder; give one that holds option groups, as {text}/cluster/*.yaml"
        )
    return path
