"""Weights and data of a sweep, prepared once for all trials that share them."""

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from conf.folder import RunFolder, write_json
from conf.schema.rows import held_out_sets
from conf.schema.run import RunConfig
from launcher.child import run_trainer
from launcher.freeze import Claim, Origin, freeze
from launcher.resolve import Resolved
from launcher.runs import is_run
from launcher.slurm import preparation
from launcher.start import prepared

_AT_ONCE = 200
"""Runs that one process prepares: their folders stand on its command line."""


@dataclass(frozen=True)
class Shared:
    """What one preparation serves."""

    runs: tuple[Resolved, ...]
    """Trials with the same weights and data; the first one stands for them all."""


def groups(runs: Sequence[Resolved]) -> list[Shared]:
    """Trials by what decides their weights and data, in order."""
    found: dict[str, list[Resolved]] = {}
    for run in runs:
        found.setdefault(key(run.config), []).append(run)
    return [Shared(tuple(members)) for members in found.values()]


def key(config: RunConfig) -> str:
    """A text that is the same only for runs with the same weights and data.

    It names what `python -m trainer prepare` makes them from (trainer.data.description), more rather than less."""
    data = config.data
    split = data.source != "python_docs" and not held_out_sets(data) and bool(data.eval_fraction or data.eval_rows)
    parts = [config.model.model_dump_json(), data.model_dump_json(), config.method.objective]
    drawn = config.seed if split or config.model.random_weights else None
    length = [config.method.max_steps, config.batch.global_] if data.streaming else None
    return json.dumps([*parts, config.store.root, config.offline, drawn, length])


def prepare(shared: Sequence[Shared], origin: Origin) -> list[dict[str, Any]]:
    """Freeze the first trial of each group and prepare them here, in one process; gives `assets` of their manifests.

    Folders made for that go again where it fails. Raises LauncherError with the trainer's exit code."""
    found = [_known(each) for each in shared]
    missing = [index for index, known in enumerate(found) if not known]
    claims: dict[int, Claim] = {}
    try:
        for index in missing:
            claims[index] = freeze(shared[index].runs[0], origin=origin)
            claims[index].release()
        for start in range(0, len(missing), _AT_ONCE):
            folders = [claims[index].folder for index in missing[start : start + _AT_ONCE]]
            run_trainer(folders[0], ["prepare", *(str(folder.path) for folder in folders)], quiet=True)
    except BaseException:
        for made in claims.values():
            if made.created and not prepared(made.folder):
                shutil.rmtree(made.folder.path, ignore_errors=True)
        raise
    for index in missing:
        found[index] = claims[index].folder.manifest()["assets"]
    return found


def prepare_apart(shared: Shared) -> dict[str, Any]:
    """The same in a private folder that goes again: of a search no trial is known before it begins."""
    known = _known(shared)
    if known:
        return known
    run = shared.runs[0]
    Path(run.config.run.root).mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=run.config.run.root, prefix=".prepare-") as private:
        place = run.config.run.model_copy(update={"root": private})
        alone = replace(run, config=run.config.model_copy(update={"run": place}))
        return prepare([Shared((alone,))], Origin.take(Path(private)))[0]


def submit(shared: Shared, origin: Origin) -> str | None:
    """Freeze the first trial of a group and submit the job that prepares it; its id, None where that is done."""
    if _known(shared):
        return None
    claim = freeze(shared.runs[0], origin=origin)
    claim.release()
    return preparation.submit(shared.runs[0].config, claim.folder)


def _known(shared: Shared) -> dict[str, Any]:
    """What one of the group's trials was prepared with before; {} where none was."""
    for run in shared.runs:
        folder = run.folder
        if is_run(folder.path) and prepared(folder):
            assets: dict[str, Any] = folder.manifest()["assets"]
            return assets
    return {}


def give(folder: RunFolder, assets: dict[str, Any]) -> None:
    """Name the weights and data in the manifest of a run that was frozen before they were there."""
    if assets and not prepared(folder):
        write_json(folder.manifest_file, folder.manifest() | {"assets": assets})
