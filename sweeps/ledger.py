"""The ledger: what was handed to Slurm, written down before and after, so that a kill in between loses and doubles
nothing."""

from dataclasses import dataclass
from typing import Any

from conf.folder import RunFolder
from launcher import start
from launcher.slurm import queue
from launcher.state import last_job
from sweeps.folder import SweepFolder, run_of

_ANSWERS = ("submitted", "refused", "lost")


@dataclass
class Chunk:
    """One array as the ledger tells of it."""

    number: int
    job_name: str
    elements: list[int]
    """Trial numbers; element i of the array is the i-th, counted from 1. Workers of a search have none."""
    work_dir: str
    """The folder that the job was submitted for, by which it is known again."""
    answer: str | None = None
    """submitted, refused or lost; None where a launcher was killed before it knew."""
    job_id: str | None = None
    recorded: bool = False
    """Whether each trial's folder tells of the job."""


def chunks(sweep: SweepFolder) -> list[Chunk]:
    """All arrays in order."""
    found: dict[int, Chunk] = {}
    for line in sweep.ledger():
        event, number = line["event"], int(line.get("chunk", 0))
        if event == "submitting":
            found[number] = Chunk(number, line["job_name"], line["elements"], line["work_dir"])
        elif event in _ANSWERS and number in found:
            found[number].answer, found[number].job_id = event, line.get("job_id")
        elif event == "recorded" and number in found:
            found[number].recorded = True
    return [found[number] for number in sorted(found)]


def next_chunk(sweep: SweepFolder) -> int:
    """The number of the next array, counted from 1."""
    return max((chunk.number for chunk in chunks(sweep)), default=0) + 1


def waiting(sweep: SweepFolder) -> list[int]:
    """Trials that the site's limits held back, and that neither were submitted nor cancelled since."""
    held: dict[int, None] = {}
    for line in sweep.ledger():
        elements: list[int] = line.get("elements", [])
        if line["event"] == "waiting":
            held |= dict.fromkeys(elements)
        elif line["event"] in ("submitted", "cancelled"):
            for number in elements:
                held.pop(number, None)
    return list(held)


def put_right(sweep: SweepFolder) -> None:
    """Finish what a killed launcher left half-way: look for the arrays whose submission has no answer, and tell the
    folders of their trials. Only for whoever holds the sweep's lock.

    Raises SiteError where Slurm does not answer: the job may be there."""
    for chunk in chunks(sweep):
        if chunk.answer is None:
            found = queue.find_array(chunk.job_name, chunk.work_dir)
            answer: dict[str, Any] = {"chunk": chunk.number, "elements": chunk.elements}
            if found is None:
                sweep.append_ledger("lost", **answer)
                continue
            sweep.append_ledger("submitted", **answer, job_id=found)
            chunk.answer, chunk.job_id = "submitted", found
        if chunk.answer == "submitted" and not chunk.recorded:
            record(sweep, chunk)


def record(sweep: SweepFolder, chunk: Chunk, **more: Any) -> None:
    """Tell the folder of each trial of a submitted array which job is its own."""
    trials = {trial["number"]: trial for trial in sweep.trials()}
    for index, number in enumerate(chunk.elements, 1):
        folder = run_of(sweep, trials[number])
        job_id = f"{chunk.job_id}_{index}"
        if last_job(folder) != job_id:
            tell(folder, job_id, **more)
    sweep.append_ledger("recorded", chunk=chunk.number)


def tell(folder: RunFolder, job_id: str, **more: Any) -> None:
    """Write down in a run folder that a job was submitted for it."""
    folder.append_event("submitted", start.next_attempt(folder), job_id=job_id, **more)
