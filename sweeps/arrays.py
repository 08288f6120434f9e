"""Submission of trials as job arrays: one sbatch an array, each element of it one run."""

import os
import resource
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conf.folder import RunFolder, write_whole
from conf.schema.run import RunConfig
from launcher import start
from launcher.environment import for_submission
from launcher.errors import SiteError
from launcher.freeze import claim
from launcher.slurm import queue
from launcher.slurm.command import Refused
from launcher.slurm.sbatch import read_job_id, submit_named
from launcher.state import last_start
from sweeps import ledger
from sweeps.folder import SweepFolder
from sweeps.limits import Part, room, split
from sweeps.shapes import Shape, Shapes

WAITING = "waiting"
"""File among the chunks while trials wait that the site's limits held back; the batch scripts look for it."""
_OPEN_FILES = 256
"""Open files that are left for everything but the locks of runs."""


@dataclass(frozen=True)
class Ready:
    """A frozen trial that is to be submitted."""

    number: int
    folder: RunFolder
    config: RunConfig
    before: dict[str, Any] | None
    """Its last start, as it was when the run was found in need of one."""


@dataclass
class Submitted:
    """What came of a submission."""

    jobs: list[str] = field(default_factory=list)
    """Ids of the arrays."""
    elements: int = 0
    waiting: int = 0
    """Trials that wait for room under the site's limits."""
    taken: int = 0
    """Trials that another launcher has in its hands."""
    refused: str | None = None
    """Slurm's words where it refused an array after others were taken."""


@dataclass(frozen=True)
class Wish:
    """How arrays are submitted."""

    parallel: int | None = None
    hold: bool = False
    after: Sequence[str] = ()
    """Jobs that must complete first."""


def submit(sweep: SweepFolder, ready: Sequence[Ready], wish: Wish) -> Submitted:
    """Submit frozen trials, in as many arrays as shapes and limits ask for. Only for whoever holds the sweep's lock.

    Raises SiteError where Slurm refuses the first array, or does not answer."""
    done = Submitted()
    if not ready:
        _mark(sweep)
        return done
    known = Shapes()
    shapes: dict[int, list[int]] = {}
    for trial in ready:
        shapes.setdefault(known.index(trial.config), []).append(trial.number)
    limits = room(ready[0].config)
    most = min(limits.most, _allow_files(limits.most))
    parts, held = split([shapes[index] for index in sorted(shapes)], most, wish.parallel, limits.left)
    before = running(sweep) if wish.parallel is not None else []
    by_number = {trial.number: trial for trial in ready}
    jobs: list[str | None] = []
    for part in parts:
        earlier = before if part.before is None else [job for job in [jobs[part.before]] if job]
        try:
            job = _submit_part(sweep, part, known.found[part.shape], by_number, wish, earlier, done)
        except Refused as error:
            if not done.jobs:
                raise
            done.refused = error.message
            held += [number for each in parts[len(jobs) :] for number in each.elements]
            break
        jobs.append(job)
    if held:
        sweep.append_ledger("waiting", elements=held)
    done.waiting = len(ledger.waiting(sweep))
    _mark(sweep)
    return done


def _submit_part(
    sweep: SweepFolder,
    part: Part,
    shape: Shape,
    ready: dict[int, Ready],
    wish: Wish,
    earlier: Sequence[str],
    done: Submitted,
) -> str | None:
    """One array, while the locks of its runs are held; its id, None where all its runs are in other hands."""
    claims = _claim([ready[number] for number in part.elements])
    try:
        mine = [number for number in part.elements if number in claims]
        done.taken += len(part.elements) - len(mine)
        if not mine:
            return None
        for number in mine:
            start.clear(ready[number].folder)
        chunk = new_chunk(sweep, mine, str(sweep.path))
        _write(sweep, chunk, shape, [ready[number].folder for number in mine])
        array = f"1-{len(mine)}" + (f"%{part.limit}" if part.limit else "")
        waits = [*(f"afterok:{job}" for job in wish.after), *(f"afterany:{job}" for job in earlier)]
        job_id = _sbatch(sweep, chunk, shape, array, waits, wish.hold)
        done.jobs.append(job_id)
        done.elements += len(mine)
        return job_id
    finally:
        for handle in claims.values():
            os.close(handle)


def _claim(trials: Sequence[Ready]) -> dict[int, int]:
    """The locks of runs that nobody else has, and that were not started since they were looked at."""
    found = {}
    for trial in trials:
        handle = claim(trial.folder.path, 0)
        if handle is None:
            continue
        if last_start(trial.folder) != trial.before:
            os.close(handle)
            continue
        found[trial.number] = handle
    return found


def _write(sweep: SweepFolder, chunk: ledger.Chunk, shape: Shape, folders: Sequence[RunFolder]) -> None:
    """The files of an array: its list, its script, and for each element a link to where its log goes."""
    sweep.chunks.mkdir(mode=0o700, exist_ok=True)
    links = sweep.chunks / f"{chunk.number:04d}"
    links.mkdir(mode=0o700, exist_ok=True)
    script = sweep.chunk_script(chunk.number)
    write_whole(sweep.chunk_file(chunk.number), "".join(f"{folder.path}\n" for folder in folders))
    write_whole(script, shape.script(RunFolder(sweep.path), chunk.job_name))
    for index, folder in enumerate(folders, 1):
        link = links / str(index)
        link.unlink(missing_ok=True)
        link.symlink_to(Path("../../..") / folder.id / "attempts")
        _replace(folder.script, Path("..") / sweep.id / "chunks" / script.name)


def _replace(link: Path, target: Path) -> None:
    """Make a run's job.sbatch the script that is submitted."""
    fresh = link.with_name(f".{link.name}-{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    os.replace(fresh, link)


def _sbatch(sweep: SweepFolder, chunk: ledger.Chunk, shape: Shape, array: str, waits: Sequence[str], hold: bool) -> str:
    dependency = ",".join([*waits, *filter(None, [shape.dependency()])])
    output = str(sweep.chunks / f"{chunk.number:04d}").replace("%", "%%") + "/%a/slurm-%A_%a.log"
    command = ["sbatch", "--parsable", f"--array={array}", *([f"--dependency={dependency}"] if dependency else [])]
    command += ["--hold"] if hold else []
    command += [f"--chdir={sweep.path}", f"--output={output}", str(sweep.chunk_script(chunk.number)), str(sweep.path)]
    command += [str(sweep.chunk_file(chunk.number)), *shape.arguments()]
    return hand_over(sweep, chunk, command, shape)


def hand_over(sweep: SweepFolder, chunk: ledger.Chunk, command: Sequence[str], shape: Shape) -> str:
    """Call sbatch for an array, written down before and after; its id. Raises SiteError as submit_named."""
    said = {"chunk": chunk.number, "elements": chunk.elements}
    sweep.append_ledger("submitting", **said, job_name=chunk.job_name, work_dir=chunk.work_dir, command=list(command))
    try:
        output = submit_named(
            command,
            chunk.job_name,
            lambda: queue.find_array(chunk.job_name, chunk.work_dir),
            for_submission(shape.asked),
        )
    except Refused as error:
        sweep.append_ledger("refused", **said, message=error.message)
        raise
    chunk.answer, chunk.job_id = "submitted", read_job_id(output)
    sweep.append_ledger("submitted", **said, job_id=chunk.job_id)
    ledger.record(sweep, chunk)
    return chunk.job_id


def new_chunk(sweep: SweepFolder, elements: list[int], work_dir: str) -> ledger.Chunk:
    """The next array of a sweep, under a name that no other job has."""
    number = ledger.next_chunk(sweep)
    return ledger.Chunk(number, f"{sweep.id}.{number:04d}", elements, work_dir)


def running(sweep: SweepFolder) -> list[str]:
    """Arrays of this sweep that are not over, which new ones follow where sweep.parallel bounds them all.

    By their ids; and by name and folder those of one element by which a trial goes on where requeues are forbidden."""
    chunks = [chunk for chunk in ledger.chunks(sweep) if chunk.answer == "submitted"]
    if not chunks:
        return []
    ids = {str(chunk.job_id) for chunk in chunks}
    named = {(chunk.job_name, chunk.work_dir) for chunk in chunks}
    active = [(job.id.partition("_")[0], (job.name, job.work_dir)) for job in queue.active_jobs()]
    return sorted({array for array, name in active if array in ids or name in named}, key=int)


def _mark(sweep: SweepFolder) -> None:
    """Let the batch scripts see whether anything waits."""
    file = sweep.chunks / WAITING
    if ledger.waiting(sweep):
        sweep.chunks.mkdir(mode=0o700, exist_ok=True)
        file.touch(mode=0o600)
    else:
        file.unlink(missing_ok=True)


def _allow_files(wanted: int) -> int:
    """Raise the limit of open files as far as allowed; gives how many locks may be held."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = wanted + _OPEN_FILES
    if soft != resource.RLIM_INFINITY and soft < need:
        soft = need if hard == resource.RLIM_INFINITY else min(need, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    left = wanted if soft == resource.RLIM_INFINITY else soft - _OPEN_FILES
    if left < 1:
        raise SiteError(f"only {soft} files may be open here: raise it with `ulimit -n {need}`")
    return left
