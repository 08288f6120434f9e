"""Hydra's part: the chosen options, composed over the schema's defaults into one plain tree of values."""

import copy
from collections.abc import Iterator
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

from conf.schema.run import RunConfig
from launcher.grammar import quoted
from launcher.options import CONF

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
    return copy.deepcopy(_composed(tuple(choices.items()), config_dir))


@cache
def _composed(choices: tuple[tuple[str, str], ...], config_dir: Path | None) -> dict[str, Any]:
    with _hydra():
        composed = compose("config", overrides=_words(dict(choices), config_dir))
    tree = OmegaConf.to_container(composed, resolve=False)
    assert isinstance(tree, dict)
    return {str(key): value for key, value in tree.items()}


def sources(choices: dict[str, str], config_dir: Path | None) -> list[Source]:
    """The YAML files of a composition in the order in which they were laid over each other."""
    with _hydra():
        loader = GlobalHydra.instance().config_loader()
        listed = loader.compute_defaults_list("config", _words(choices, config_dir), RunMode.RUN)
    found = []
    for entry in listed.defaults:
        package = entry.package or ""
        for root in (CONF, config_dir):
            if root is not None and not package.startswith("hydra") and entry.config_path is not None:
                file = root / f"{entry.config_path}.yaml"
                if file.is_file():
                    found.append(Source(package, file))
                    break
    return found


def line_of(path: str, where: list[Source]) -> str:
    """`FILE:LINE` of the last file that sets a dotted path, "" where none does."""
    for source in reversed(where):
        if source.package and not path.startswith(source.package + ".") and path != source.package:
            continue
        parts = path.removeprefix(source.package).strip(".").split(".")
        line = _line(source.file, parts)
        if line:
            return f"{source.file}:{line}"
    return ""


def _line(file: Path, parts: list[str]) -> int:
    node = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    line = 0
    for part in parts:
        if not isinstance(node, yaml.MappingNode):
            return line
        entries = [(key, value) for key, value in node.value if key.value == part]
        if not entries:
            return 0
        key, node = entries[-1]
        line = key.start_mark.line + 1
    return line


def _words(choices: dict[str, str], config_dir: Path | None) -> list[str]:
    words = [f"{group}={quoted(option)}" for group, option in choices.items()]
    if config_dir is not None:
        words.append(f"hydra.searchpath=[{quoted(f'file://{config_dir}')}]")
    return words


@contextmanager
def _hydra() -> Iterator[None]:
    store_base()
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        yield
