"""Handing over to Hydra for the flags that are Hydra's own: --cfg, --info, --hydra-help, --version, tab completion."""

import contextlib
import io
import logging
import os
import re
import sys

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig

from conf.schema.problems import ConfigProblems
from launcher.argv import Line
from launcher.compose import hydra_words, store_base
from launcher.errors import InputError
from launcher.options import CONF, groups
from launcher.overrides import check
from launcher.own_files import check_files, check_folder

_COMMAND = re.compile(r"^\s*(\S*python[\d.]*\s+-m\s+launcher|\S+)(\s+(submit|plan|data)(?=\s))?\s*")


def hand_over(line: Line) -> int:
    """Let Hydra answer a line; gives the exit code. Overrides are checked first, since Hydra would take any key."""
    folder = ["--config-dir", str(line.config_dir)] if line.config_dir else []
    store_base()
    if {"-sc", "--shell-completion"} & set(line.hydra):
        return _complete([*folder, *line.hydra])
    checked = check(line.overrides, line.config_dir)
    if checked.problems:
        raise ConfigProblems(checked.problems)
    problems = [*check_files(checked.choices, line.config_dir)]
    if line.config_dir is not None:
        problems += check_folder(line.config_dir)
    if problems:
        raise ConfigProblems(problems)
    fields = [word for word in checked.canonical if not _is_choice(word)]
    words = [*hydra_words(checked.choices), *(word if word.startswith("~") else f"++{word}" for word in fields)]
    return _hydra([*(["--multirun"] if line.multirun else []), *folder, *line.hydra, *words])


def _complete(arguments: list[str]) -> int:
    """Tab completion. Hydra's knows neither verbs nor a `+` before groups: both are taken off, the `+` is put back."""
    words = _COMMAND.sub("", os.environ.get("COMP_LINE", "")).split(" ")
    plus = "+" if words[-1].startswith("+") else ""
    plain = [word[1:] if word.startswith("+") and _is_choice(word[1:]) else word for word in words[:-1]]
    os.environ["COMP_LINE"] = " ".join(["slurmwright", *plain, words[-1].removeprefix("+")])
    answer = io.StringIO()
    with contextlib.redirect_stdout(answer):
        code = _hydra(arguments)
    query = any(word.startswith("query=") for word in arguments)
    print(" ".join(plus + word for word in answer.getvalue().split()) if query else answer.getvalue())
    return code


def _is_choice(word: str) -> bool:
    return word.partition("=")[0] in groups()


def _hydra(arguments: list[str]) -> int:
    sys.argv = ["slurmwright", *arguments]
    logging.raiseExceptions = False  # Hydra prints by logging, which would show a traceback for `| head`
    try:
        hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")(_nothing)()
    except HydraException as error:
        raise InputError(str(error).partition("\n")[0]) from error
    except SystemExit as end:
        return 2 if end.code == 1 else int(end.code or 0)
    return 0


def _nothing(config: DictConfig) -> None:
    """Hydra's job; never reached, since each of its flags ends before it."""
