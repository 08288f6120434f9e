"""`python -m trainer prepare RUN`: weights and data of a run into the store, their digests into its manifest.

CPU only and done once: a run whose assets lie in the store is left as it is, equal inputs of other runs are found.
"""

import argparse
import json
import logging
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from yaml import YAMLError

from conf.folder import RunFolder, write_json
from conf.schema.run import RunConfig
from trainer.data.prepared import DataAsset, prepare_data
from trainer.errors import PreparationError
from trainer.offline import enter
from trainer.sources.random_weights import with_random_weights
from trainer.sources.resolve import ModelAsset, resolve
from trainer.staging import record
from trainer.store import Store

log = logging.getLogger(__name__)


class NoRun(PreparationError):
    """The folder is not a run folder, or its config cannot be read."""


class AssetsChanged(PreparationError):
    """What can be prepared now is not what the run began with."""

    exit_code = 5


@dataclass(frozen=True)
class Assets:
    """What a run is trained from, as `assets` of its manifest."""

    model: ModelAsset
    data: DataAsset

    def dump(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @property
    def present(self) -> bool:
        """Whether both folders exist."""
        return Path(self.model.path).is_dir() and Path(self.data.path).is_dir()


def prepare(folder: RunFolder) -> Assets:
    """Bring the run's weights and data into the store, and name them in the manifest.

    Does nothing where the manifest names assets that exist. Where it names some that are gone they are made again,
    and must come out the same. Raises PreparationError.
    """
    before = recorded(folder)
    if before is not None and before.present:
        return before
    config = read_config(folder)
    assert config.store.root is not None, "a frozen config is derived"
    store = Store(config.store.root)
    model = resolve(config.model, store, offline=config.offline, only=before.model.source if before else None)
    if config.model.random_weights:
        model = with_random_weights(model, config.model, config.seed, store)
    if before is not None:
        _same("weights", before.model.digest, model.digest)
    begun_with = before.data.revisions if before is not None else None
    data = prepare_data(config, model.tokenizer or model.path, store, begun_with)
    if before is not None:
        _same("data", before.data.digest, data.digest)
    record(config, model, data, store)
    assets = Assets(model, data)
    write_json(folder.manifest_file, folder.manifest() | {"assets": assets.dump()})
    log.info(
        "data: %d training rows in %d sequences, %d tokens of which %d are learnt, %d held-out rows: %s",
        data.train_rows, data.sequences, data.tokens, data.trained_tokens, data.eval_rows, data.path,
    )  # fmt: skip
    return assets


def recorded(folder: RunFolder) -> Assets | None:
    """The assets that the run's manifest names, None before it was prepared."""
    assets = folder.manifest().get("assets")
    if not assets:
        return None
    return Assets(ModelAsset(**assets["model"]), DataAsset(**assets["data"]))


def read_config(folder: RunFolder) -> RunConfig:
    """The run's frozen config. Raises NoRun."""
    try:
        return folder.config()
    except FileNotFoundError:
        raise NoRun(f"{folder.path} is no run folder: it has no {folder.config_file.name}") from None
    except (ValidationError, YAMLError) as error:
        raise NoRun(f"{folder.config_file} is damaged: {error}") from None


def main(argv: Sequence[str]) -> int:
    """The command. Returns an exit code."""
    parser = argparse.ArgumentParser(prog="python -m trainer prepare", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folder")
    parser.add_argument("--json", action="store_true", help="print the assets as JSON on stdout")
    arguments = parser.parse_args(argv)
    talk()
    try:
        host = socket.gethostname()
        for folder in map(RunFolder, arguments.runs):
            enter(read_config(folder), folder, [host], host, 0)
            assets = prepare(folder)
    except (PreparationError, OSError) as error:
        return fail(error)
    if arguments.json:
        print(json.dumps(assets.dump(), indent=2))
    return 0


def talk() -> None:
    """Send what is done to stderr, a line each, and silence the libraries' own chatter."""
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING)
    logging.getLogger("trainer").setLevel(logging.INFO)
    for name, value in (("HF_HUB_DISABLE_XET", "1"), ("HF_HUB_DISABLE_PROGRESS_BARS", "1"), ("TQDM_DISABLE", "1")):
        os.environ.setdefault(name, value)


def fail(error: PreparationError | OSError) -> int:
    """Say what went wrong; returns the exit code. With SLURMWRIGHT_TRACEBACK=1 the error goes on instead."""
    if os.environ.get("SLURMWRIGHT_TRACEBACK") == "1":
        raise error
    print(f"error: {error}", file=sys.stderr)
    return error.exit_code if isinstance(error, PreparationError) else 5


def _same(what: str, before: str, after: str) -> None:
    if before != after:
        raise AssetsChanged(
            f"the {what} of this run are gone from the store, and what takes their place differs: the run began with "
            f"{before}, now there is {after}; bring the old ones back, or launch again under another name"
        )
