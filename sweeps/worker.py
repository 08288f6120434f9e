"""A worker of a search: asks for a trial, carries it out on its nodes, tells, and asks again until nothing is left.

`python -m sweeps worker SWEEP` is what each element of a search's job array runs on its first node. With cluster=local
and cluster=here the command of the search is itself the one worker. Workers share nothing but the sweep's folder.
"""

from collections.abc import Sequence

from launcher import report
from launcher.arguments import Parser
from launcher.errors import InputError, RunFailed
from launcher.freeze import Origin
from sweeps.carry import Carrier, Leave
from sweeps.folder import SweepFolder, find_sweep
from sweeps.outcome import Outcome
from sweeps.owner import Lease, this_worker
from sweeps.proposal import Proposer
from sweeps.search import enter, kept_options, read_search
from sweeps.signals import Notices
from sweeps.study import Job, Study

FAILURES = 3
"""Failed trials, and no other, after which a search ends: something is wrong with all of them."""
INTERRUPTED = 130


def main(argv: Sequence[str]) -> int:
    """`python -m sweeps worker SWEEP`. Gives the exit code."""
    parser = Parser("worker", "Carry out trials of a search, one after another, until there is nothing left.")
    parser.prog = "python -m sweeps worker"
    parser.add_argument("sweep", metavar="SWEEP", help="sweep id or folder")
    arguments = parser.read(argv)
    sweep = find_sweep(arguments.sweep, arguments.root)
    if sweep.sweep()["kind"] != "search":
        raise InputError(f"{sweep.id} is a grid: its trials are jobs of their own, and need no worker")
    return work(sweep)


def work(sweep: SweepFolder) -> int:
    """Carry out trials until there is nothing left for this worker.

    Gives the exit code: 0; 4 where a trial of the search failed; 130 where this worker was told to leave, the same
    command goes on."""
    notices = Notices()
    notices.install()
    record = sweep.sweep()
    enter(record)
    search, study, owner = read_search(record, kept_options(sweep)), Study(sweep), this_worker(sweep)
    lease = Lease(sweep, owner)
    proposer = Proposer(sweep, search, study, owner)
    carrier = Carrier(sweep, search, study, owner, lease, notices, Origin.take(sweep.root))
    try:
        while not notices.leaving:
            lease.write()
            if carrier.over_budget(count=True):
                study.end(f"budget.gpu_hours={search.budget.gpu_hours:g} is used up")
            job = proposer.next()
            if job is None:
                return _over(study)
            _say(job, carrier.carry_out(job))
            _give_up(study)
    except Leave:
        pass
    report.say(f"worker {owner.worker} was told to leave")
    return INTERRUPTED


def _over(study: Study) -> int:
    """Nothing is left to do for a worker. Gives its exit code."""
    jobs = [job for job in study.jobs() if job.void is None]
    if study.ended:
        report.say(f"the search has ended: {study.ended}")
    failed = [job.trial for job in jobs if job.failed]
    if failed:
        report.say(f"failed: {', '.join(map(str, failed))}")
    return RunFailed.exit_code if failed else 0


def _give_up(study: Study) -> None:
    """End a search that has nothing but failures."""
    ended = [job for job in study.jobs() if job.void is None and not job.running]
    failed = [job for job in ended if job.failed]
    if len(failed) >= FAILURES and len(failed) == len(ended) and not study.ended:
        study.end(f"the first {len(failed)} trials have all failed, the last one with {failed[-1].cause}")


def _say(job: Job, found: Outcome | None) -> None:
    if found is None:
        return
    values = ", ".join(f"{value:.6g}" for value in found.values)
    words = {"failed": f"failed: {found.cause}", "paused": f"paused at step {found.step}: {values}"}
    report.say(f"trial {job.trial}: {words.get(found.kind, f'{found.kind}: {values}')}")
