"""Verb `sync`: what offline runs have written for Weights & Biases is sent by wandb itself, later."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conf.folder import RunFolder
from launcher import report, torn
from launcher.arguments import Parser
from launcher.errors import InputError, SiteError
from launcher.runs import find, list_runs
from launcher.slurm import queue
from launcher.state import ACTIVE, job_ids, state_of

TIMEOUT = 600.0
"""Seconds for one run, unless --timeout says."""
TOKEN = "WANDB_API_KEY"
MARK = ".wandb.synced"
"""Ending of the empty file that wandb leaves beside what its server has in full. It alone tells: wandb exits with 0
also where the server has refused it."""


@dataclass
class Found:
    """What one run has written offline: a folder an attempt."""

    folder: RunFolder
    sent: list[Path] = field(default_factory=list)
    waiting: list[Path] = field(default_factory=list)
    error: str | None = None

    def dump(self) -> dict[str, Any]:
        """As plain values."""
        names = {"sent": self.sent, "waiting": self.waiting}
        lists = {name: [path.name for path in paths] for name, paths in names.items()}
        return {"run_id": self.folder.id, **lists, "error": self.error}


def main(argv: Sequence[str]) -> int:
    """`python -m launcher sync [RUN...] [--dry-run]`. Gives the exit code.

    Raises InputError where the token or wandb is missing, SiteError where wandb could not send all."""
    parser = Parser(
        "sync", "Send what offline runs have written for W&B. MLflow's files need no sending: they are its store."
    )
    parser.add_argument("runs", nargs="*", metavar="RUN", help="run ids or folders (default: all)")
    parser.add_argument("--dry-run", action="store_true", help="send nothing: list what would be sent")
    parser.add_argument(
        "--timeout", type=float, default=TIMEOUT, metavar="S", help="longest for a run (default: %(default)g s)"
    )
    arguments = parser.read(argv)
    given = [find(run, arguments.root) for run in arguments.runs] or list_runs(arguments.root)
    found = [one for one in map(look, given) if one.sent or one.waiting]
    _leave_running(found)
    if not arguments.dry_run and any(one.waiting and one.error is None for one in found):
        program, variables = _program(), _variables()
        for one in found:
            if one.waiting and one.error is None:
                _send(one, program, variables, arguments.timeout)
    for one in found:
        report.say(_words(one, arguments.dry_run))
    if not found:
        report.say("no run here has anything for W&B that was written offline (tracking=wandb offline=true)")
    if arguments.json:
        report.document({"runs": [one.dump() for one in found]})
    failed = [one for one in found if one.error is not None and one.waiting]
    if failed and not arguments.dry_run:
        if arguments.json:
            return SiteError.exit_code
        raise SiteError(
            f"{len(failed)} of {len(found)} runs were not sent; type the same again: what is sent stays sent"
        )
    return 0


def look(folder: RunFolder) -> Found:
    """What a run has written offline, and what of it was sent, by this verb or by hand."""
    found = Found(folder)
    for place in sorted((folder.tracking / "wandb").glob("offline-run-*")):
        for file in place.glob("run-*.wandb"):
            (found.sent if file.with_suffix(MARK).exists() else found.waiting).append(place)
    return found


def _leave_running(found: list[Found]) -> None:
    """A run that is queued or runs writes on: wandb takes its file for broken."""
    folders = [one.folder for one in found if one.waiting]
    if not folders:
        return
    said = queue.look(job_ids(folders))
    for one in found:
        if one.waiting and (status := state_of(one.folder, said).status) in ACTIVE:
            one.error = f"is {status}: it is sent when it has ended"


def _program() -> str:
    """wandb's own command: on the PATH, or beside the Python that runs this."""
    beside = Path(sys.executable).parent / "wandb"
    found = shutil.which("wandb") or (str(beside) if beside.is_file() else None)
    if found is None:
        raise InputError("the program wandb is not installed here: type `pip install wandb`")
    return found


def _variables() -> dict[str, str]:
    if not os.environ.get(TOKEN):
        raise InputError(f"{TOKEN} is not set: export the token of your W&B account; it is read from there alone")
    # An offline job's own switch would keep wandb from sending.
    return {name: value for name, value in os.environ.items() if name not in ("WANDB_MODE", "WANDB_DISABLED")}


def _send(one: Found, program: str, variables: dict[str, str], timeout: float) -> None:
    """All attempts of a run in one call, which wandb sends in the order of their start."""
    command = [program, "sync", *(str(place.absolute()) for place in one.waiting)]
    try:
        for file in (file for place in one.waiting for file in place.glob("run-*.wandb")):
            if (cut := torn.mend(file)) > 0:
                report.say(f"{one.folder.id}: {file.parent.name} was cut back by {cut} bytes, a record half-written")
        done = subprocess.run(
            command,
            # wandb leaves logs of its own where it is started.
            cwd=one.folder.tracking,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
        )
        said = (done.stderr.strip() or done.stdout.strip()).replace(variables[TOKEN], "...")
        why = f"wandb sync left with {done.returncode}: {_last(said)}"
    except subprocess.TimeoutExpired:
        why = f"wandb sync has not ended after {timeout:g} s: type --timeout for more"
    except OSError as error:
        why = f"{error.filename or program}: {error.strerror}"
    after = look(one.folder)
    one.sent, one.waiting = after.sent, after.waiting
    one.error = why if one.waiting else None


def _last(said: str) -> str:
    """What a program complains of, else its last words, in one line."""
    complaints = [line for line in said.splitlines() if "ERROR" in line]
    return " ".join("\n".join(complaints or [said])[-300:].split())


def _words(one: Found, dry: bool) -> str:
    count = f"{one.folder.id}: {len(one.sent)} sent"
    if one.error is not None and one.waiting:
        return f"{count}, {len(one.waiting)} not: {one.error}"
    return f"{count}, {len(one.waiting)} to be sent" if dry else count
