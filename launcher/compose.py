"""Hydra's part: the chosen options, composed over the schema's defaults into one plain tree of values."""

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from conf.schema.fields import steps_to
from conf.schema.run import RunConfig
from launcher.grammar import quoted
from launcher.options import CONF, is_file, option_file
from launcher.yaml_files import Unreadable, line_in, read_node, read_values

COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException, yaml.YAMLError, OSError, ValueError)
"""What Hydra raises for options that cannot be read or combined."""


@dataclass(frozen=True)
class Source:
    """A YAML file that took part in a composition."""

    package: str
    """Dotted place of its values in the tree; "" for the root."""
    file: Path


def store_base() -> None:
    """Give Hydra the schema's defaults under the name that the root's defaults list begins with."""
    ConfigStore.instance().store(name="base", node=RunConfig().dump())


def compose_tree(choices: dict[str, str], config_dir: Path | None) -> dict[str, Any]:
    """The tree of values of the chosen options, before single fields are set.

    Composed once for each combination of options in a process. Text with `${...}` in it stays as it is: no YAML here
    has interpolations, shell lines do. Raises one of COMPOSITION_ERRORS."""
    return copy.deepcopy(_composed(tuple(hydra_words(choices)), config_dir))


@cache
def _composed(words: tuple[str, ...], config_dir: Path | None) -> dict[str, Any]:
    with _hydra():
        composed = compose("config", overrides=[*words, *_search(config_dir)])
    tree = OmegaConf.to_container(composed, resolve=False)
    assert isinstance(tree, dict)
    return {str(key): value for key, value in tree.items()}


def sources(choices: dict[str, str], config_dir: Path | None) -> list[Source]:
    """The YAML files of a composition in the order in which they were laid over each other."""
    with _hydra():
        loader = GlobalHydra.instance().config_loader()
        words = [*hydra_words(choices), *_search(config_dir)]
        listed = loader.compute_defaults_list("config", words, RunMode.RUN)
    found = []
    for entry in listed.defaults:
        package = entry.package or ""
        if entry.config_path is None or package.startswith("hydra"):
            continue
        group, _, option = entry.config_path.partition("/")
        if group == "recipe" and option.startswith(_BY_PATH):
            option = choices["recipe"]
        file = option_file(group, option, config_dir) if option else CONF / f"{group}.yaml"
        if file is not None and file.is_file():
            found.append(Source(package, file))
    return found


def line_of(path: str, where: list[Source], steps: Sequence[str | int] = ()) -> str:
    """`FILE:LINE` of the last file that sets a dotted path, "" where none does.

    Further steps go into the value: the position of an item of a list, and the keys within it."""
    for source in reversed(where):
        if source.package and not path.startswith(source.package + ".") and path != source.package:
            continue
        parts = steps_to(path)[source.package.count(".") + 1 if source.package else 0 :]
        try:
            node = read_node(source.file)
        except Unreadable:
            continue
        line = line_in(node, [*parts, *steps]) or line_in(node, parts)
        if line:
            return f"{source.file}:{line}"
    return ""


_BY_PATH = "file-"
"""Begins the names under which Hydra knows recipes that were given by path."""


def hydra_words(choices: Mapping[str, str]) -> list[str]:
    """The choices as Hydra takes them. A recipe given by path is read and stored under a name of its own."""
    words = []
    for group, option in choices.items():
        if is_file(group, option):
            option = _store_file(Path(option))
        words.append(f"{group}={quoted(option)}")
    return words


def _store_file(file: Path) -> str:
    """Give Hydra a recipe from anywhere; the name changes with the file's text, since compositions are kept."""
    name = _BY_PATH + hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    try:
        node = read_values(file)
    except Unreadable as error:
        raise ValueError(f"{file}:{error.line}: {error.message}") from error
    ConfigStore.instance().store(group="recipe", name=name, node=node, package="_global_")
    return name


def _search(config_dir: Path | None) -> list[str]:
    return [] if config_dir is None else [f"hydra.searchpath=[{quoted(f'file://{config_dir}')}]"]


@contextmanager
def _hydra() -> Iterator[None]:
    store_base()
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        yield
