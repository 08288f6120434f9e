"""The logs of a run: one a node and attempt, and what Slurm's own script said."""

from pathlib import Path

from conf.folder import RunFolder
from launcher.state import last_start
from launcher.tail import Tail


class Logs:
    """The lines that the logs of a run gain."""

    def __init__(self, folder: RunFolder, first: int = 1, last: int | None = None, node: str | None = None) -> None:
        """Logs of attempts `first` to `last` (None: of all to come), of one node or of all."""
        self.folder, self.first, self.last, self.node = folder, first, last, node
        self._tails: dict[Path, Tail] = {}

    def lines(self) -> list[str]:
        """New complete lines; with the node's name in front where there are several logs."""
        self._find()
        return [line for path, tail in self._tails.items() for line in self._named(path, tail.lines())]

    def rest(self) -> list[str]:
        """What is left at the end, lines that were never completed included."""
        self._find()
        return [line for path, tail in self._tails.items() for line in self._named(path, tail.rest())]

    def texts(self) -> dict[str, list[str]]:
        """All lines not yet given, by the name of the log."""
        self._find()
        return {name(path): tail.rest() for path, tail in self._tails.items()}

    def _find(self) -> None:
        for path in paths(self.folder, self.first, self.last):
            if self.node in (None, name(path)):
                self._tails.setdefault(path, Tail(path))

    def _named(self, path: Path, lines: list[str]) -> list[str]:
        several = len({name(other) for other in self._tails}) > 1
        return [f"{name(path)} | {line}" if several else line for line in lines]


def paths(folder: RunFolder, first: int = 1, last: int | None = None) -> list[Path]:
    """The logs that hold anything: those of the last jobs' scripts, then those of the attempts by node."""
    last_submission = last_start(folder) or {}
    jobs = (("prepare", last_submission.get("prepare_job_id")), ("slurm", last_submission.get("job_id")))
    found = [folder.attempts / f"{kind}-{job_id}.log" for kind, job_id in jobs if job_id]
    for number in folder.attempt_numbers():
        if number >= first and (last is None or number <= last):
            found += sorted(folder.attempt_folder(number).glob("*.log"))
    return [path for path in found if path.is_file() and path.stat().st_size]


def name(path: Path) -> str:
    """How a log is called: its node, `launch` for what a local start said before, `slurm` for the job's script,
    `prepare` for that of the job that prepared it."""
    return path.stem if path.parent.name.isdigit() else path.stem.partition("-")[0]
