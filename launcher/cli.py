"""`python -m launcher` and `slurmwright`: find the verb, run it, turn what goes wrong into words and an exit code."""

import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from conf.schema.problems import ConfigProblems, did_you_mean
from launcher import argv as words
from launcher import help as texts
from launcher import report, rooms
from launcher.errors import InputError, LauncherError

VERBS = {
    "submit": ("launcher.submit", "compose, check, freeze and submit a run; the verb where none is given"),
    "plan": ("launcher.plan", "all of that but submitting: prints sizes, layout and the exact batch script"),
    "schema": ("launcher.schema", "JSON Schema of a run, or of a group's option files, for editors"),
    "explain": ("launcher.explain", "what a field, a group, an option or a rule is"),
    "catalogue": ("launcher.catalogue", "the groups and their options: models, devices, adapters, recipes"),
    "import": ("launcher.importing", "an Axolotl recipe as a recipe of this tool, with the fate of every key"),
    "data": ("launcher.data", "look at prepared data: each token, and whether it is trained on"),
    "status": ("launcher.status", "how runs are: state, progress, why they wait, when they start"),
    "logs": ("launcher.logs", "a run's log; -f follows it"),
    "cancel": ("launcher.cancel", "end a run"),
    "resume": (
        "launcher.resume",
        "go on with a run from its newest checkpoint, with other operational fields if wanted",
    ),
    "stop": ("launcher.stop", "let a running run save and end, at its next step"),
    "checkpoint": ("launcher.checkpoint", "let a running run save, and go on"),
    "stage": ("launcher.stage", "bring all that a run touches into a store, pack it, or unpack it elsewhere"),
    "verify": ("launcher.verify", "is all there that an offline run touches? lists what is missing"),
    "sync": ("launcher.sync", "send what offline runs have written for W&B, from a machine with a network"),
    "reproduce": ("launcher.reproduce", "check that a run can be made again, and make it again beside it"),
    "doctor": ("launcher.doctor", "what this site is, and what that means for runs"),
}
"""Verbs of this room: module with `main(arguments) -> exit code`, and what it does."""
_HELP = {"submit": texts.SUBMIT, "plan": texts.PLAN, "data": texts.DATA}
_COMPOSING = ("submit", "plan")
"""Verbs that Hydra's own flags go with, and of which other modules do the same for several runs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Gives its exit code; never raises for what a person did."""
    return carry_out(_run, list(sys.argv[1:] if arguments is None else arguments))


def carry_out(run: Callable[[list[str]], int], given: list[str]) -> int:
    """Run a command with the words that it was given; errors become words and an exit code."""
    try:
        code = run(given)
        sys.stdout.flush()
        return code
    except (LauncherError, ConfigProblems) as error:
        return _refused(error, "--json" in given)
    except KeyboardInterrupt:
        report.say("interrupted")
        return 130
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; without this, Python complains once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        traceback.print_exc()
        report.say(
            "\nThis is a bug in Slurmwright. Please report it with the lines above and the command that you typed."
        )
        return 1


def _run(given: list[str]) -> int:
    verb, rest = words.split_verb(given)
    if verb is None and (not rest or rest in (["--help"], ["-h"])):
        print(main_help())
        return 0
    verb = verb or "submit"
    if verb not in VERBS:
        return _added(verb)(rest)
    if verb in _HELP and ("--help" in rest or "-h" in rest):
        print(_HELP[verb] + layers())
        return 0
    if verb in _COMPOSING:
        line = words.parse(rest)
        if line.hydra:
            from launcher.hydra_app import hand_over

            return hand_over(line)
        if line.multirun:
            several: int = rooms.of_several(verb)(rest)
            return several
    run: Callable[[Sequence[str]], int] = importlib.import_module(VERBS[verb][0]).main
    return run(rest)


def _added(verb: str) -> Callable[[Sequence[str]], int]:
    found = rooms.added()
    if verb not in found:
        guess = did_you_mean(verb, [*VERBS, *found])
        raise InputError(f"unknown verb {verb!r}: {guess or 'type `python -m launcher --help`'}")
    loaded: Callable[[Sequence[str]], int] = found[verb].load()
    return loaded


def main_help() -> str:
    """The help of the command as a whole."""
    lines = [f"  {verb:10} {says}" for verb, (_, says) in VERBS.items()]
    lines += [
        f"  {entry.name:10} (added by {entry.dist.name if entry.dist else entry.module})"
        for entry in rooms.added().values()
    ]
    return texts.MAIN.format(verbs="\n".join(lines))


def layers() -> str:
    """The help on groups and fields."""
    from launcher.options import groups, options

    lines = []
    for group in groups().values():
        names = options(group.name)
        shown = ", ".join(names[:8]) + (f", ... ({len(names)} in all)" if len(names) > 8 else "")
        lines.append(f"  {group.name:9} {shown}" + (" (needed)" if group.mandatory else ""))
    return texts.LAYERS.format(groups="\n".join(lines)).rstrip()


def _refused(error: LauncherError | ConfigProblems, as_json: bool) -> int:
    """Say why a command is not carried out; gives the exit code."""
    if os.environ.get("SLURMWRIGHT_TRACEBACK") == "1":
        traceback.print_exc()
    code = error.exit_code if isinstance(error, LauncherError) else 2
    body: dict[str, Any] = {"exit_code": code}
    if isinstance(error, ConfigProblems):
        report.print_problems(error.problems)
        body["error"] = "the command cannot be carried out as typed"
        body["problems"] = report.records(problem for problem in error.problems if not problem.warning)
        body["warnings"] = report.records(problem for problem in error.problems if problem.warning)
    else:
        report.say(f"error: {error.message}")
        body["error"] = error.message
    if as_json:
        report.document(body)
    return code
