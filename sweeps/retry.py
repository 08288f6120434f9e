"""Verb `retry`: start failed and missing trials of a sweep again, by number or all."""

from collections.abc import Sequence

from launcher import report
from launcher.arguments import Parser
from launcher.errors import InputError
from launcher.local import start as start_here
from launcher.start import FINISHED
from sweeps import again, ledger, one_by_one
from sweeps.folder import find_sweep, run_of
from sweeps.submit import locked


def main(argv: Sequence[str]) -> int:
    """`python -m sweeps retry SWEEP [NUMBER...] [--hold] [--json]`. Gives the exit code."""
    parser = Parser("retry", "Start failed and missing trials again, each from its newest checkpoint.")
    parser.prog = "python -m sweeps retry"
    parser.add_argument("sweep", metavar="SWEEP", help="sweep id or folder")
    parser.add_argument("numbers", nargs="*", type=int, metavar="NUMBER", help="trials (default: all that need it)")
    parser.add_argument("--hold", action="store_true", help="submit the jobs held")
    arguments = parser.read(argv)
    sweep = find_sweep(arguments.sweep, arguments.root)
    if sweep.sweep()["kind"] != "grid":
        raise InputError(f"{sweep.id} is a search: its workers go on by themselves; `extend` gives it more trials")
    known = [trial["number"] for trial in sweep.trials()]
    unknown = sorted(set(arguments.numbers) - set(known))
    if unknown:
        raise InputError(f"{sweep.id} has no trial {unknown[0]}: it has 0 to {max(known, default=0)}")
    with locked(sweep):
        ready = again.startable(sweep, arguments.numbers or known)
        slurm = all(trial.config.cluster.kind == "slurm" for trial in ready)
        if slurm:
            ledger.put_right(sweep)
            ready = again.startable(sweep, arguments.numbers or known)
            done = again.submit(sweep, ready, arguments.hold)
            report.say(f"{sweep.id}: {done.elements} trials submitted, {done.waiting} wait")
            if arguments.json:
                report.document({"sweep_id": sweep.id, "submitted": done.elements, "jobs": done.jobs})
            return 0
        finished = sum(run_of(sweep, trial).result().get("status") in FINISHED for trial in sweep.trials())
        counts = {"trials": len(known), "finished": finished}
        return one_by_one.carry_out(
            sweep, ready, lambda trial: start_here(trial.config, trial.folder), counts, arguments.json
        )
