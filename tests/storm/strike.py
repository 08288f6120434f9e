"""One fault: wait for its moment, hold the run there, let it happen, see that it hit, and mend what is broken."""

import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime

from conf.folder import Event, RunFolder, now, read_json
from tests.faults import inflict
from tests.faults.processes import Process, held, processes
from tests.faults.watch import Missed, Watch
from tests.slurm.cluster import Cluster, daemons
from tests.slurm.cluster.procfs import end
from tests.slurm.launching import Login, all_logs
from tests.storm.damage import damage
from tests.storm.disk import Disk
from tests.storm.job import EVALUATION
from tests.storm.schedule import DAMAGE, NOTICE, Fault
from tests.storm.state import Hit
from trainer import checkpoint

ATTEMPT = 180.0
"""Seconds within which the next attempt must begin, node failures found out included."""
TRAINS = 240.0
"""Seconds within which an attempt must train."""
NOTICED = 45.0
"""Seconds within which a notice must have come."""
GONE = ("COMPLETED", "FAILED", "CANCELLED", "NODE_FAIL", "TIMEOUT", "OUT_OF_MEMORY")
"""States of a job that does not start again."""
SURE = 5.0
"""Seconds for which a job must be gone: between its end and its requeue it looks so, too."""


HELD = "launch_failed_requeued_held"
"""Reason of a job that waits for somebody since a node could not start it."""
WHY_NOT = (["squeue", "--all"], ["sinfo", "--Node", "--long"], ["scontrol", "show", "job"])
"""What Slurm is asked when a run does not go on."""


class TooLate(Exception):
    """The moment had passed when the fault was ready; it is tried again."""


@dataclass
class Moment:
    """Where the run is held."""

    attempt: int
    before: int
    """Step up to which it had come."""
    nodes: list[str]
    processes: list[Process]


class Striker:
    """Hits one run again and again."""

    def __init__(self, cluster: Cluster, login: Login, disk: Disk, folder: RunFolder, watch: Watch) -> None:
        self._cluster = cluster
        self._login = login
        self._disk = disk
        self._folder = folder
        self._watch = watch
        self._over = 0
        self._asked = 0.0

    def strike(self, number: int, fault: Fault) -> Hit:
        """Let a fault happen. Raises TooLate when it did not hit, Missed when the run does not go on by itself."""
        dice = random.Random(fault.seed)
        with self._moment(fault) as moment:
            when, begun = now(), time.monotonic()
            detail, mend = self._inflict(fault, moment, dice)
        try:
            self._see_it_hit(fault, moment)
        finally:
            mend()
        if self._lost(moment, seldom=False):
            self._over = moment.attempt
        hit = Hit(number, fault.kind, fault.phase, moment.attempt, moment.before, when, detail)
        self._go_on(moment, hit)
        made = self._watch.look().steps_of(moment.attempt)
        if fault.kind == "slurmctld":
            made = self._watch.steps_of(moment.attempt, until=when)
        # Told at step k, a run may still end step k + 1.
        before = hit.before = max(moment.before, made[-1] if made else 0)
        if fault.kind in NOTICE:
            hit.saved = self._saved(moment.attempt)
        print(f"{time.strftime('%H:%M:%S')} fault {number + 1}: {fault.kind} in {fault.phase} at step {before} "
              f"({detail}), {time.monotonic() - begun:.0f} s", flush=True)  # fmt: skip
        return hit

    # Its moment.

    @contextmanager
    def _moment(self, fault: Fault) -> Iterator[Moment]:
        """Wait for the fault's phase and hold the run in it."""
        watch = self._watch
        # A storm that goes on after it was interrupted finds an attempt that never said how it ended.
        watch.until(lambda run: self._alive() and bool(self._processes(run.attempt)), ATTEMPT, "an attempt")
        attempt = watch.attempt
        if fault.phase == "prepare":
            watch.until(lambda run: any(p.kind == "prepare" for p in processes(self._folder)), ATTEMPT, "preparation")
        elif fault.phase == "load":
            self._until_has(attempt, "rendezvoused", "the load of the model")
        else:
            self._until_has(attempt, "data_ready", "training")
        mine = self._processes(attempt)
        if not mine:
            raise TooLate(f"attempt {attempt} has no process any more")
        leading = [one for one in mine if one.kind == "prepare" or (one.kind == "worker" and one.rank == 0)]
        highest = max((line["step"] for line in watch.losses), default=0)
        mark = max(fault.mark, highest + 1)
        if fault.phase in ("step", "save", "evaluate"):
            watch.until(lambda run: self._there(fault, attempt, mark), TRAINS, f"{fault.phase} at step {mark}")
        with self._hold(fault, leading):
            watch.look()
            if not self._still_there(fault, attempt):
                raise TooLate(f"{fault.phase} was over before it could be hit")
            yield Moment(attempt, self._position(attempt), self._nodes(attempt), mine)

    def _until_has(self, attempt: int, event: Event, what: str) -> None:
        """Wait for an event of an attempt. Raises TooLate where the attempt ends before."""
        self._watch.until(lambda run: bool(run.of(attempt, event)) or not self._alive(), TRAINS, what)
        if not self._watch.of(attempt, event):
            raise TooLate(f"attempt {attempt} ended before {what}")

    def _processes(self, attempt: int) -> list[Process]:
        return [found for found in processes(self._folder) if found.attempt == attempt]

    def _there(self, fault: Fault, attempt: int, mark: int) -> bool:
        step = self._watch.step
        if self._watch.folder.result_file.exists() or not self._watch.steps_of(attempt):
            return False
        if fault.phase == "save":
            started = self._watch.of(attempt, "checkpoint_started")
            return bool(started) and started[-1]["step"] >= mark and self._saving(attempt)
        if fault.phase == "evaluate":
            return step >= mark and step % EVALUATION == 0 and not self._evaluated(step)
        if fault.kind in DAMAGE and len(checkpoint.committed(self._folder.checkpoints)) < 2:
            return False
        return step >= mark

    def _still_there(self, fault: Fault, attempt: int) -> bool:
        if not self._alive():
            return False
        if fault.phase == "load":
            return not self._watch.of(attempt, "data_ready")
        if fault.phase == "first_step":
            return not self._watch.steps_of(attempt)
        if fault.phase == "save":
            return self._saving(attempt)
        if fault.phase == "evaluate":
            return self._watch.step % EVALUATION == 0 and not self._evaluated(self._watch.step)
        return True

    def _saving(self, attempt: int) -> bool:
        started = self._watch.of(attempt, "checkpoint_started")
        return len(started) > len(self._watch.of(attempt, "checkpoint_committed"))

    def _evaluated(self, step: int) -> bool:
        return any(line["event"] == "evaluated" and line.get("step") == step for line in self._watch.events)

    def _alive(self) -> bool:
        """Whether the newest attempt runs and has not said how it ended."""
        attempt = self._watch.attempt
        numbers = self._folder.attempt_numbers()
        return attempt > self._over and attempt == numbers[-1] and not self._record(attempt).get("ended")

    def _position(self, attempt: int) -> int:
        """The step up to which the run has come: the last one made, or the one that the attempt goes on from."""
        made = self._watch.steps_of(attempt)
        if made:
            return int(made[-1])
        there = checkpoint.committed(self._folder.checkpoints)
        return checkpoint.step_of(there[-1]) if there else 0

    def _nodes(self, attempt: int) -> list[str]:
        return list(self._watch.of(attempt, "started")[-1]["nodes"])

    def _hold(self, fault: Fault, leading: Iterable[Process]) -> AbstractContextManager[None]:
        """While slurmctld restarts a run goes on by itself; all other faults find it where they were aimed."""
        return nullcontext() if fault.kind == "slurmctld" else held(leading)

    # What happens.

    def _inflict(self, fault: Fault, moment: Moment, dice: random.Random) -> tuple[str, Callable[[], object]]:
        """Let it happen. Gives what was hit, in words, and what mends it."""
        cluster, node = self._cluster, self._cluster.node(dice.choice(moment.nodes))
        if fault.kind == "preemption":
            inflict.preempt(cluster, node.name)
            self._await_notice(moment)
            return node.name, lambda: None
        if fault.kind == "time_limit":
            inflict.end_soon(cluster, self._folder)
            self._await_notice(moment)
            return "", lambda: None
        if fault.kind in ("worker", "agent"):
            victim = dice.choice([one for one in moment.processes if one.kind == fault.kind])
            inflict.kill(victim)
            return f"rank {victim.rank} on {victim.node}" if fault.kind == "worker" else victim.node, lambda: None
        if fault.kind == "slurmd":
            end(daemons.running("slurmd", node.machine))
            try:
                self._watch.until(lambda run: self._lost(moment), 60, f"the loss of {node.name}, whose slurmd is dead")
            except Missed:
                daemons.start_slurmd(cluster.layout, node.machine)
                raise
            return node.name, lambda: daemons.start_slurmd(cluster.layout, node.machine)
        if fault.kind == "node":
            node.kill()
            return node.name, node.start
        if fault.kind == "link":
            node.cut()
            return node.name, node.restore
        if fault.kind == "slurmctld":
            cluster.restart_slurmctld()
            return "", lambda: None
        if fault.kind == "full_disk":
            self._disk.fill()
            return "", self._disk.free
        file = damage(self._folder.checkpoints, fault.kind, dice)
        if file is None:
            raise TooLate("fewer than two checkpoints are there")
        inflict.kill(dice.choice([one for one in moment.processes if one.kind == "worker"]))
        return file, lambda: None

    def _await_notice(self, moment: Moment) -> None:
        self._watch.until(
            lambda run: bool(run.of(moment.attempt, "signal")) or self._lost(moment), NOTICED, "the notice"
        )

    def _lost(self, moment: Moment, seldom: bool = True) -> bool:
        """Whether the attempt is over, by its own word or by Slurm's, who is asked once a second."""
        if self._record(moment.attempt).get("ended") or self._watch.folder.attempt_numbers()[-1] > moment.attempt:
            return True
        if seldom and time.monotonic() - self._asked < 1.0:
            return False
        self._asked = time.monotonic()
        state = self._cluster.job(inflict.job_of(self._folder)).get("JobState", "")
        return state not in ("RUNNING", "COMPLETING", "")

    def _see_it_hit(self, fault: Fault, moment: Moment) -> None:
        """Return when the fault has had its effect. Raises TooLate where it had none."""
        if fault.kind == "slurmctld":
            made = len(self._watch.look().steps_of(moment.attempt))
            self._watch.until(
                lambda run: len(run.steps_of(moment.attempt)) > made or self._lost(moment), 60, "a step, or the end"
            )
            return
        self._watch.until(
            lambda run: self._lost(moment) or self._finished(),
            ATTEMPT,
            f"the end of attempt {moment.attempt}",
        )

    def _go_on(self, moment: Moment, hit: Hit) -> None:
        """Wait for the next attempt. Where the run has ended for good, or Slurm holds it, resume it as a person would,
        and note it. Raises Missed when that does not help."""
        deadline, gone_since = time.monotonic() + ATTEMPT, 0.0
        while time.monotonic() < deadline:
            self._watch.look()
            if self._watch.attempt > moment.attempt or self._alive() or self._finished():
                return
            job = self._cluster.job(inflict.job_of(self._folder))
            if job.get("Reason") == HELD:
                self._release()
                hit.released += 1
                deadline = time.monotonic() + ATTEMPT
            elif job.get("JobState", "COMPLETED") not in GONE:
                gone_since = 0.0
            elif gone_since == 0.0:
                gone_since = time.monotonic()
            elif time.monotonic() - gone_since > SURE and not hit.by_hand:
                self._login.launcher("resume", str(self._folder.path))
                hit.by_hand = True
            time.sleep(0.5)
        slurm = [self._cluster.run(words).stdout for words in WHY_NOT]
        raise Missed(
            f"the run does not go on after attempt {moment.attempt}\n{''.join(slurm)}\n{all_logs(self._folder)}"
        )

    def _release(self) -> None:
        """Do what it takes once Slurm could not launch the job: the site's part, then the user's."""
        states = self._cluster.run(["sinfo", "--noheader", "--Node", "--format=%N %T"]).stdout.splitlines()
        for drained in {line.split()[0] for line in states if "drain" in line}:
            self._cluster.run(["scontrol", "update", f"nodename={drained}", "state=resume"], check=False)
        self._login.launcher("resume", str(self._folder.path))

    def _finished(self) -> bool:
        return bool(self._folder.result().get("status") == "completed")

    def _saved(self, attempt: int) -> float | None:
        """Seconds from the notice to the durable checkpoint; None where all was saved already."""
        told = self._watch.of(attempt, "signal")
        committed = self._watch.of(attempt, "checkpoint_committed")
        if not told or not committed:
            return None
        started = self._watch.of(attempt, "checkpoint_started")[-1]["t"]
        return max(0.0, seconds(min(told[0]["t"], started), committed[-1]["t"]))

    def _record(self, attempt: int) -> dict[str, object]:
        try:
            return read_json(self._folder.attempt_folder(attempt) / "attempt.json")
        except ValueError:
            return {}


def seconds(begin: str, end: str) -> float:
    """Seconds between two times of the run folder."""
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()
