"""Verb `report`: one self-contained HTML page of a sweep or of a single run."""

from collections.abc import Sequence
from pathlib import Path

from conf.folder import RunFolder
from conf.schema.problems import did_you_mean
from launcher.arguments import Parser
from launcher.errors import InputError, SiteError
from launcher.report import document, one_line, say
from launcher.runs import find, list_runs
from sweeps import run_page, sweep_page
from sweeps.folder import SweepFolder, find_sweep, list_sweeps
from sweeps.table import read_table


def main(argv: Sequence[str]) -> int:
    """`python -m launcher report RUN|SWEEP [--root DIR] [--json]`, or `python -m sweeps report`. Gives the exit code.

    Raises InputError where there is neither, SiteError where the page cannot be written."""
    parser = Parser("report", "One HTML page of a run or a sweep, with plots; it opens with no network.")
    parser.add_argument("name", metavar="RUN|SWEEP", help="id or folder of a run or a sweep")
    arguments = parser.read(argv)
    found = find_either(arguments.name, arguments.root)
    try:
        page = _write(found)
    except OSError as error:
        raise SiteError(f"the page of {found.id} cannot be written: {error.strerror or error}") from error
    if arguments.json:
        kind = "sweep" if isinstance(found, SweepFolder) else "run"
        document({"kind": kind, "id": found.id, "report": str(page)})
    else:
        print(one_line(str(page)))
    return 0


def find_either(name: str, root: str | Path) -> SweepFolder | RunFolder:
    """The sweep or the run of a name or path. Raises InputError, with the nearest ids, where there is neither."""
    for look in (find_sweep, find):
        try:
            return look(name, root)
        except InputError:
            pass
    ids = [*(sweep.id for sweep in list_sweeps(root)), *(folder.id for folder in list_runs(root))]
    guess = did_you_mean(name, ids) if ids else "there are none"
    raise InputError(f"no sweep and no run {name!r} in {root}: {guess or f'{len(ids)} lie there'}. A path is good too")


def _write(found: SweepFolder | RunFolder) -> Path:
    if isinstance(found, RunFolder):
        return run_page.write(found)
    table = read_table(found)
    if table.complaint:
        say(f"Slurm cannot be asked: {table.complaint}")
    return sweep_page.write(table)
