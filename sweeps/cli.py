"""`python -m sweeps VERB SWEEP`: find the verb, run it; mistakes and exit codes are those of the launcher."""

import importlib
import sys
from collections.abc import Callable, Sequence

from conf.schema.problems import did_you_mean
from launcher.argv import is_word
from launcher.cli import carry_out
from launcher.errors import InputError

VERBS = {
    "status": ("sweeps.status", "the ranked table: metric, spread over seeds, state and cause of failure"),
    "report": ("sweeps.report", "one self-contained HTML page, with CSV, JSON and parquet beside it"),
    "best": ("sweeps.best", "the command of the best configuration; --apply launches it"),
    "retry": ("sweeps.retry", "start failed and missing trials again"),
    "cancel": ("sweeps.cancel", "end a whole sweep"),
    "extend": ("sweeps.extend", "more values for a grid, more trials for a search"),
    "continue": ("sweeps.continue_", "submit the trials that this site's limits held back"),
    "worker": ("sweeps.worker", "carry out trials of a search; what its jobs start"),
}
"""Module with `main(arguments) -> exit code`, and what the verb does."""
HELP = """\
python -m sweeps VERB SWEEP [--root DIR] [--json]

A sweep is many runs from one command: `python -m launcher +model=NAME +cluster=NAME -m adapter.r=8,16,32`.

{verbs}

SWEEP is a sweep's id under the run root, or the path of its folder. `python -m sweeps VERB --help` tells more."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Gives its exit code; never raises for what a person did."""
    return carry_out(_run, list(sys.argv[1:] if arguments is None else arguments))


def _run(given: list[str]) -> int:
    place = next((place for place, word in enumerate(given) if is_word(word)), None)
    if place is None:
        print(HELP.format(verbs="\n".join(f"  {verb:9} {says}" for verb, (_, says) in VERBS.items())))
        return 0
    verb = given.pop(place)
    if verb not in VERBS:
        raise InputError(f"unknown verb {verb!r}: {did_you_mean(verb, VERBS) or 'type `python -m sweeps --help`'}")
    run: Callable[[Sequence[str]], int] = importlib.import_module(VERBS[verb][0]).main
    return run(given)
