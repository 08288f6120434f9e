"""The sweep folder: what a sweep is made of, beside the folders of its runs. Every name in it is said here, once."""

import os
from pathlib import Path
from typing import Any

from conf.folder import RunFolder, append_line, now, read_json, read_lines, write_json
from launcher.runs import find_folder, list_folders


class SweepFolder:
    """Paths of one sweep, and the few safe ways of writing there."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self.sweep_file = self.path / "sweep.json"
        self.trials_file = self.path / "trials.jsonl"
        self.ledger_file = self.path / "ledger.jsonl"
        self.chunks = self.path / "chunks"
        self.study = self.path / "study.journal"
        self.workers = self.path / "workers"
        self.report = self.path / "report"
        self.lock = self.path / ".lock"

    @property
    def id(self) -> str:
        """The sweep's id: the folder's name."""
        return self.path.name

    @property
    def root(self) -> Path:
        """The run root, where the runs of the sweep lie, too."""
        return self.path.parent

    def sweep(self) -> dict[str, Any]:
        """sweep.json, {} where there is none yet."""
        return read_json(self.sweep_file)

    def write_sweep(self, record: dict[str, Any]) -> None:
        """Write sweep.json whole."""
        write_json(self.sweep_file, record)

    def trials(self) -> list[dict[str, Any]]:
        """The trials in order of their numbers; of a number that was written twice the first line counts."""
        found: dict[int, dict[str, Any]] = {}
        for line in read_lines(self.trials_file):
            found.setdefault(int(line["number"]), line)
        return [found[number] for number in sorted(found)]

    def append_trial(self, trial: dict[str, Any]) -> None:
        """Add one line to trials.jsonl: number, run_id, values, group, shape."""
        append_line(self.trials_file, {"t": now()} | trial)

    def ledger(self) -> list[dict[str, Any]]:
        """All complete lines of the ledger, in order of writing."""
        return read_lines(self.ledger_file)

    def append_ledger(self, event: str, **more: Any) -> None:
        """Add one line to the ledger."""
        append_line(self.ledger_file, {"t": now(), "event": event} | more)

    def chunk_file(self, chunk: int) -> Path:
        """The list of a chunk: its line i is the run folder of array element i, counted from 1."""
        return self.chunks / f"{chunk:04d}.txt"

    def chunk_script(self, chunk: int) -> Path:
        """The batch script of a chunk."""
        return self.chunks / f"{chunk:04d}.sbatch"

    def worker(self, number: int) -> Path:
        """Folder of one worker of a search: workers/01 for number 1."""
        return self.workers / f"{number:02d}"


def run_of(sweep: SweepFolder, trial: dict[str, Any]) -> RunFolder:
    """The run folder of a trial."""
    return RunFolder(sweep.root / str(trial["run_id"]))


def is_sweep(path: Path) -> bool:
    """Whether a folder is a sweep."""
    return os.path.isfile(path / "sweep.json")


def list_sweeps(root: str | Path) -> list[SweepFolder]:
    """All sweeps under a run root, oldest first."""
    found = map(SweepFolder, list_folders(root, is_sweep))
    return sorted(found, key=lambda sweep: str(sweep.sweep().get("created", "")))


def find_sweep(name_or_path: str | Path, root: str | Path) -> SweepFolder:
    """The folder of a sweep: a plain name is looked up under the root, anything else is a path.

    Raises InputError, with the nearest ids, where there is no such sweep."""
    return SweepFolder(find_folder(name_or_path, root, is_sweep, "sweep"))
