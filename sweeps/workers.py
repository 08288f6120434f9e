"""Submitting a search: one array, each element of it a worker that asks for trials until the search is over."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conf.folder import RunFolder, write_whole
from conf.schema.problems import ConfigProblems, Problem
from launcher import argv, preflight, report
from launcher.errors import InputError
from launcher.freeze import Origin
from launcher.resolve import Resolved
from launcher.slurm import queue
from launcher.snapshot import STORE
from sweeps import arrays, assets, ledger, waiting, words
from sweeps.axes import Line
from sweeps.expand import Settings
from sweeps.folder import SweepFolder
from sweeps.limits import room
from sweeps.plan import canonical, decides, sweep_id
from sweeps.record import made_with, record_of
from sweeps.shapes import Shape, Shapes
from sweeps.submit import locked


def make_search(line: argv.Line, read: Line, settings: Settings) -> tuple[SweepFolder, tuple[str, ...], list[Resolved]]:
    """Check a search and write nothing: its folder, its canonical words, and the runs of a few of its points.

    Raises ConfigProblems with everything that is wrong."""
    from sweeps.search import check_search

    typed = canonical(read, settings, line.config_dir)
    probe = SweepFolder("search")
    samples: list[Resolved] = check_search(record_of(probe, "search", settings, typed, line.config_dir))
    return SweepFolder(Path(samples[0].config.run.root) / sweep_id(samples, settings, typed)), typed, samples


def launch_search(line: argv.Line, read: Line, settings: Settings) -> int:
    """Check a search, write it down and start its workers. Gives the exit code.

    Raises ConfigProblems with everything that is wrong, SiteError where Slurm refuses or does not answer."""
    sweep, typed, samples = make_search(line, read, settings)
    config = samples[0].config
    found = [problem for problem in preflight.check(config) if not problem.warning]
    if found:
        raise ConfigProblems(found)
    slurm = config.cluster.kind == "slurm"
    if line.hold and not slurm:
        raise InputError("--hold: only jobs of Slurm can be held")
    with locked(sweep):
        record = record_of(sweep, "search", settings, typed, line.config_dir)
        require_same(sweep, record)
        origin = Origin.take(sweep.root)
        known = _prepare(samples) if config.site.prepare == "login" else []
        sweep.write_sweep(record | made_with(origin.code, config.store.root) | {"assets": known})
        _create(sweep)
        jobs = submit_workers(sweep, samples, settings.sweep.parallel or 1, hold=line.hold) if slurm else []
    if not slurm:
        from sweeps.worker import work

        return int(work(sweep) or 0)
    _say(sweep, jobs, line.json and not line.wait)
    return waiting.wait_for_search(sweep, line.json) if line.wait else 0


def _prepare(samples: Sequence[Resolved]) -> list[dict[str, Any]]:
    """Prepare here what the trials will share; for each key of sweeps.assets what its trials have in their manifest."""
    return [
        {"key": assets.key(shared.runs[0].config), "assets": assets.prepare_apart(shared)}
        for shared in assets.groups(samples)
    ]


def require_same(sweep: SweepFolder, record: dict[str, Any]) -> None:
    """Raise ConfigProblems where a sweep of this name is there and searches something else."""
    before = sweep.sweep()
    if not before:
        return
    if before["kind"] != "search":
        raise ConfigProblems(
            [Problem("sweep.name", f"{sweep.id} is a grid, and this is a search: choose another name")]
        )
    then, now = _decisive(before), _decisive(record)
    differences = [f"{word} is new" for word in sorted(now - then)] + [f"{word} is gone" for word in sorted(then - now)]
    if differences:
        message = f"{sweep.id} is another search: {'; '.join(differences)}. Choose another sweep.name, or leave it out"
        raise ConfigProblems([Problem("sweep.name", message)])


_FREE = ("name", "parallel", "trials", "metric")
"""Settings of a search that may change while it goes on."""


def _decisive(record: dict[str, Any]) -> set[str]:
    said = {word for word in record["words"][-1] if decides(word)}
    return said | {f"sweep.{name}={value}" for name, value in record["settings"].items() if name not in _FREE}


def _create(sweep: SweepFolder) -> None:
    from sweeps.study import create

    create(sweep)


def submit_workers(sweep: SweepFolder, samples: Sequence[Resolved], wanted: int, hold: bool = False) -> list[str]:
    """See that so many workers are queued or running; gives the ids of the arrays submitted for that. Only for whoever
    holds the sweep's lock.

    Raises ConfigProblems where trials ask for different resources, SiteError where Slurm refuses."""
    shapes = Shapes()
    for sample in samples:
        shapes.index(sample.config)
    if len(shapes.found) > 1:
        message = "a worker trains one trial after another in its allocation, so all ask for the same of Slurm"
        raise ConfigProblems([Problem("sweep.search", f"{message}: leave cluster and site out of what varies")])
    ledger.put_right(sweep)
    mine = {str(chunk.job_id) for chunk in ledger.chunks(sweep) if chunk.job_id}
    alive = [job for job in queue.active() if job.partition("_")[0] in mine]
    config = samples[0].config
    limits = room(config)
    missing = min(wanted - len(alive), limits.most, wanted if limits.left is None else limits.left)
    if missing < 1:
        return []
    return [_submit(sweep, shapes.found[0], missing, hold)]


def _submit(sweep: SweepFolder, shape: Shape, count: int, hold: bool) -> str:
    code = sweep.root / STORE / str(sweep.sweep()["code_digest"])
    chunk = arrays.new_chunk(sweep, [], str(code))
    for folder in (sweep.chunks, sweep.workers):
        folder.mkdir(mode=0o700, exist_ok=True)
    script = sweep.chunk_script(chunk.number)
    write_whole(script, shape.script(RunFolder(sweep.path), chunk.job_name, "worker"))
    dependency = shape.dependency()
    command = ["sbatch", "--parsable", f"--array=1-{count}"]
    command += [f"--dependency={dependency}"] if dependency else []
    command += ["--hold"] if hold else []
    command += [f"--chdir={code}", f"--output={str(sweep.workers).replace('%', '%%')}/slurm-%A_%a.log", str(script)]
    return arrays.hand_over(sweep, chunk, [*command, str(sweep.path), *shape.arguments()], shape)


def _say(sweep: SweepFolder, jobs: list[str], json: bool) -> None:
    if json:
        report.document({"sweep_id": sweep.id, "folder": str(sweep.path), "jobs": jobs})
        return
    print(f"{'sweep':16} {sweep.id}\n{'workers':16} {', '.join(jobs) or 'as many as asked for are there'}")
    print(f"{'folder':16} {report.one_line(str(sweep.path))}")
    report.say(f"\npython -m sweeps status {words.typed(sweep)}")
