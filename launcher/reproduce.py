"""Verb `reproduce`: check that all that a run was made of can be had, and launch the same run again beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conf.folder import RunFolder
from launcher import provenance, report
from launcher.again import resolve_again
from launcher.arguments import Parser
from launcher.errors import AssetsMissing, InputError
from launcher.freeze import require_same_identity
from launcher.grammar import quoted
from launcher.resolve import Resolved
from launcher.runs import find
from launcher.submit import launch

SHOWN = 8
"""Differing packages that are named."""


def main(argv: Sequence[str]) -> int:
    """`python -m launcher reproduce RUN [KEY=VALUE...] [--check | --compare OTHER]`. Gives the exit code.

    Raises InputError for a run that was never prepared or whose code was changed, AssetsMissing where an asset is
    damaged, or gone with offline=true, ConfigProblems for a field that is wrong or belongs to the run's identity."""
    parser = Parser("reproduce", "Launch a run again under another name: the same config, code, weights and rows.")
    parser.add_argument("run", metavar="RUN", help="run id or folder")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="operational fields; name= names the new run")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="launch nothing: say whether all of it can be had")
    what.add_argument("--compare", metavar="OTHER", help="launch nothing: are the weights of both runs identical?")
    arguments = parser.read(argv)
    folder = find(arguments.run, arguments.root)
    if arguments.compare:
        return _compare(folder, find(arguments.compare, arguments.root), arguments.json)
    resolved = _resolved(folder, arguments.overrides)
    found = _check(folder, resolved)
    if arguments.check:
        report.say(f"{folder.id} can be made again: its code, weights and rows are as they were")
        if arguments.json:
            report.document(found)
        return 0
    again = RunFolder(folder.path.parent / str(resolved.config.name))
    report.say(f"{folder.id} is made again as {again.id}")
    code = launch(resolved, arguments.json, of=folder)
    if code == 0 and again.result().get("status") == "completed":
        report.say(_verdict(folder, again)[1])
    return code


def _resolved(folder: RunFolder, overrides: Sequence[str]) -> Resolved:
    """The run's own config under a name that is free, with the operational fields typed now."""
    words = list(overrides)
    root = folder.path.parent
    if not any(word.startswith("name=") for word in words):
        words.append(f"name={_free_name(folder)}")
    words = [word for word in words if not word.startswith("run.root=")] + [f"run.root={quoted(str(root))}"]
    resolved = resolve_again(folder, words)
    if resolved.digest != folder.manifest()["identity_digest"]:
        require_same_identity(folder, resolved)
    if (root / str(resolved.config.name)).exists():
        raise InputError(f"{resolved.config.name} is there already: choose another name=")
    return resolved


def _free_name(folder: RunFolder) -> str:
    number = 1
    while True:
        name = f"{folder.id[:110]}-again" + (str(number) if number > 1 else "")
        if not (folder.path.parent / name).exists():
            return name
        number += 1


def _check(folder: RunFolder, resolved: Resolved) -> dict[str, Any]:
    """What the run was made of and what differs here. Raises where it cannot be made again."""
    record = folder.manifest()
    if not record.get("assets"):
        raise InputError(f"{folder.id} was never prepared: there is nothing to make again. `resume` starts it")
    wrong = provenance.code_problem(folder)
    if wrong is not None:
        raise InputError(f"{folder.id} cannot be made again: {wrong}")
    offline, store = resolved.config.offline, Path(str(resolved.config.store.root))
    found = list(provenance.asset_problems(folder, store))
    fatal = [words for _, words, gone in found if offline or not gone]
    if fatal:
        lines = "".join(f"\n  {words}" for words in fatal)
        raise AssetsMissing(f"{folder.id} cannot be made again from the store {store}:{lines}\n{_how(offline)}")
    for _, words, _ in found:
        report.say(f"warning: {words}: it is prepared anew, and must come out the same")
    differ = provenance.differences(record.get("environment", {}), provenance.environment())
    if differ:
        more = f", and {len(differ) - SHOWN} more" if len(differ) > SHOWN else ""
        report.say(
            f"warning: packages differ, so that the result may: {'; '.join(differ[:SHOWN])}{more}. "
            f"{folder.manifest_file} has them all under `environment`"
        )
    return {
        "run_id": folder.id,
        "name": resolved.config.name,
        "code_digest": record["code_digest"],
        "assets": record["assets"],
        "gone": [name for name, _, _ in found],
        "packages_differ": differ,
    }


def _how(offline: bool) -> str:
    return (
        "bring them back with `python -m launcher stage`, or a bundle"
        if offline
        else "remove what is damaged: it is then prepared anew, and must come out the same"
    )


def _compare(folder: RunFolder, other: RunFolder, json: bool) -> int:
    for run in (folder, other):
        if not provenance.weights_of(run):
            raise InputError(
                f"{run.id} has no trained weights: `python -m launcher status {run.id}` says where it stands"
            )
    same, words = _verdict(folder, other)
    report.say(words)
    if json:
        report.document({"run_id": folder.id, "other": other.id, "identical": same})
    return 0 if same else 4


def _verdict(folder: RunFolder, other: RunFolder) -> tuple[bool, str]:
    mine, theirs = provenance.weights_of(folder), provenance.weights_of(other)
    if mine == theirs:
        return True, f"the weights of {other.id} are bit for bit those of {folder.id}"
    differ = sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))
    return False, f"the weights of {other.id} differ from those of {folder.id}: {', '.join(differ)}"
