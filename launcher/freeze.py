"""Freezing a run: its folder appears complete or not at all, and an identity has one folder whatever happens to it.

One launcher at a time works on a run: it holds the lock of the folder from before the folder can be seen.
"""

import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from conf.folder import RunFolder, now, write_json, write_whole
from conf.schema.fields import fields
from conf.schema.problems import ConfigProblems, Problem
from launcher import ROOT, snapshot
from launcher.errors import InputError, SiteError
from launcher.manifest import config_digest, git_state, manifest, versions
from launcher.plan import make_plan
from launcher.provenance import environment
from launcher.resolve import Resolved
from launcher.site import recall
from launcher.slurm.facts import SiteFacts

_LOCK = ".lock"
"""File in a run folder that the launcher at work on it holds."""


@dataclass(frozen=True)
class Origin:
    """What all runs of one command are made from: taken once, since each part costs time."""

    code: str
    """Digest of the snapshot of the code under the run root."""
    git: dict[str, str | None]
    versions: dict[str, str]
    environment: dict[str, Any]
    assets: dict[str, Any] = field(default_factory=dict)
    """Model and data in the store, where they were prepared for another run that has the same."""
    site: SiteFacts | None = None
    """What is known of the site."""
    reproduces: str | None = None
    """Id of the run that this one makes again."""

    @classmethod
    def take(cls, root: Path) -> "Origin":
        """The code as it is now, copied under a run root. Raises SiteError where that cannot be written."""
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            return cls(snapshot.take(root), git_state(ROOT), versions(), environment(), site=recall())
        except OSError as error:
            raise unwritable(root, error) from error

    @classmethod
    def of(cls, run: RunFolder) -> "Origin":
        """What a run was made from, in the environment as it is now. Its code lies under the same run root."""
        record = run.manifest()
        return cls(record["code_digest"], record["git"], versions(), environment(), record["assets"], recall(), run.id)


@dataclass
class Claim:
    """A run folder, and the right to change it."""

    folder: RunFolder
    created: bool
    """Whether this launcher made the folder."""
    handle: int | None
    """The open lock; None where another launcher holds it."""

    def release(self) -> None:
        """Let others work on the run."""
        if self.handle is not None:
            os.close(self.handle)
            self.handle = None


def freeze(resolved: Resolved, wait: float = 10.0, origin: Origin | None = None) -> Claim:
    """Make the folder of a run, or claim the one that its identity has already; never overwrites.

    Waits so many seconds for another launcher that works on the same run. `origin` where it was taken before. Raises
    ConfigProblems where the folder belongs to another identity, SiteError where the run root cannot be written."""
    folder = resolved.folder
    if not os.path.lexists(folder.path):
        handle = _create(resolved, folder, origin or Origin.take(folder.path.parent))
        if handle is not None:
            return Claim(folder, True, handle)
    require_same_identity(folder, resolved)
    return Claim(folder, False, claim(folder.path, wait))


def refreeze(folder: RunFolder, resolved: Resolved, origin: Origin | None = None) -> bool:
    """Give an existing run new operational fields, and the code as it is now; its identity stays.

    Only for a run that is neither queued nor running, by the launcher that claimed it. Gives whether the code is
    another than before. Raises ConfigProblems where the identity differs."""
    require_same_identity(folder, resolved)
    record = folder.manifest()
    code = origin.code if origin else snapshot.take(folder.path.parent)
    changed = bool(code != record["code_digest"])
    if record["assets"] and folder.config().store.root != resolved.config.store.root:
        record["assets"] = {}  # they lie in another store
    record |= {"config_digest": config_digest(resolved.config), "composed": resolved.composed.dump()}
    if changed:
        record |= {"code_digest": code}
        record |= {
            "git": origin.git if origin else git_state(ROOT),
            "versions": origin.versions if origin else versions(),
            "environment": origin.environment if origin else environment(),
        }
        snapshot.link(folder.code, code)
    record["submissions"] = [*record["submissions"], _submission(resolved, code)]
    _write_config(folder, resolved, origin.site if origin else recall())
    write_json(folder.manifest_file, record)
    return changed


def require_same_identity(folder: RunFolder, resolved: Resolved) -> None:
    """Raise ConfigProblems, with every field that differs, where a folder is not that of this config."""
    record = folder.manifest()
    if not record:
        raise InputError(f"{folder.path} is there already and is no run: choose another name=, or another run.root=")
    if record["identity_digest"] == resolved.digest:
        return
    theirs, mine = record["identity"], resolved.identity
    raise ConfigProblems(
        Problem(
            field,
            f"{folder.id} is a run of another identity: {field} is {_said(theirs, field)} there and "
            f"{_said(mine, field)} here. Leave name= out or choose another; a run's identity never changes",
            rule="identity",
        )
        for field in sorted(theirs.keys() | mine.keys())
        if theirs.get(field) != mine.get(field)
    )


def claim(folder: Path, wait: float) -> int | None:
    """The lock of a run's or sweep's folder; None where another launcher has held it for so many seconds."""
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + wait
    while not _lock(handle):
        if time.monotonic() > deadline:
            os.close(handle)
            return None
        time.sleep(0.1)
    return handle


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without locks: renaming alone keeps folders whole
    return True


def unwritable(root: Path, error: OSError) -> SiteError:
    """The error of a run root that cannot be written to."""
    return SiteError(f"run.root={root} cannot be written: {error.strerror or error}")


def _create(resolved: Resolved, folder: RunFolder, origin: Origin) -> int | None:
    """Write a run folder beside its place and rename it; gives its lock, None where somebody else was faster."""
    root = folder.path.parent
    try:
        fresh = RunFolder(root / f".new-{folder.id[:80]}-{secrets.token_hex(4)}")
        fresh.path.mkdir(mode=0o700)
    except OSError as error:
        raise unwritable(root, error) from error
    handle = None
    try:
        handle = claim(fresh.path, 0)
        _fill(fresh, resolved, folder.id, origin)
        os.rename(fresh.path, folder.path)
        return handle
    except OSError as error:
        if handle is not None:
            os.close(handle)
        if os.path.lexists(folder.path):
            return None
        raise unwritable(root, error) from error
    finally:
        shutil.rmtree(fresh.path, ignore_errors=True)


def _fill(fresh: RunFolder, resolved: Resolved, run_id: str, origin: Origin) -> None:
    for place in (fresh.attempts, fresh.checkpoints):
        place.mkdir(mode=0o700)
    snapshot.link(fresh.code, origin.code)
    _write_config(fresh, resolved, origin.site)
    record = manifest(resolved, run_id)
    record |= {"code_digest": origin.code, "git": origin.git, "versions": origin.versions}
    record |= {"environment": origin.environment, "assets": origin.assets}
    if origin.reproduces is not None:
        record["reproduces"] = origin.reproduces
    record["submissions"] = [_submission(resolved, origin.code)]
    write_json(fresh.manifest_file, record)


def _write_config(folder: RunFolder, resolved: Resolved, facts: SiteFacts | None) -> None:
    """The files that follow from a config."""
    write_json(folder.plan_file, make_plan(resolved, facts))
    folder.script.unlink(missing_ok=True)  # that of an earlier start: each submission writes its own
    write_whole(folder.overrides_file, dump_yaml(list(resolved.overrides)))
    write_whole(folder.config_file, "".join(_group_yaml(*group) for group in resolved.config.dump().items()))


def _submission(resolved: Resolved, code: str) -> dict[str, Any]:
    return {"t": now(), "overrides": list(resolved.overrides), "code_digest": code}


def _group_yaml(name: str, value: Any) -> str:
    """One group of a config as YAML. Runs of a sweep share most of theirs, and writing YAML is slow."""
    return _known_yaml(name, json.dumps(value))


@lru_cache(maxsize=256)
def _known_yaml(name: str, value: str) -> str:
    return dump_yaml({name: json.loads(value)})


def dump_yaml(value: dict[str, Any] | Iterable[str]) -> str:
    """YAML that reads back to the very same values, in the order given."""
    text: str = yaml.dump(value, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True, width=2**20)
    return text


def _said(found: dict[str, Any], field: str) -> str:
    return repr(found[field]) if field in found else f"the default, {fields()[field].get_default()!r},"
