"""The storm from its first fault to the end of the run; what happened is kept on disk after each fault."""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from conf.folder import RunFolder
from tests.faults import workload
from tests.faults.watch import Watch
from tests.slurm.cluster import Cluster
from tests.slurm.launching import Login, all_logs, wait_for_end
from tests.storm import job
from tests.storm.disk import Disk
from tests.storm.schedule import Fault
from tests.storm.state import Hit, State, Stretch, load
from tests.storm.strike import Striker, TooLate

TRIES = 8
"""Times that a fault is tried; one that finds its moment gone is tried again at the next."""
CALM, NAME = "calm", "storm"


class Storm:
    """One storm, which goes on from what its folder holds."""

    def __init__(self, cluster: Cluster, work: Path, disk: Disk, faults: Sequence[Fault]) -> None:
        """`work` holds the model, the rows, the store and the state; the run's folder lies on `disk`."""
        self.cluster = cluster
        self.disk = disk
        self.faults = list(faults)
        self.file = work / "state.json"
        self.home = work / "home"
        self.root = disk.place / "runs"
        self.state = load(self.file)
        self.state.sessions += 1
        self.login = Login(cluster, self.home, work / "store")
        if not (self.home / "rows.jsonl").exists():
            self.home.mkdir(parents=True, exist_ok=True)
            workload.build(self.home, job.ROWS)

    @property
    def steps(self) -> int:
        """Steps of the run."""
        return job.total_steps(self.faults)

    @property
    def folder(self) -> RunFolder:
        """The run that is hit."""
        return RunFolder(self.root / NAME)

    def run(self) -> State:
        """The storm, then its calm twin. Raises tests.faults.watch.Missed when the run does not go on."""
        if self.state.digest is None:
            folder = job.submit(self.login, self.root, NAME, self.steps)
            watch = Watch(folder)
            striker = Striker(self.cluster, self.login, self.disk, folder, watch)
            while len(self.state.hits) < len(self.faults):
                self._next(striker, watch)
            result = wait_for_end(folder, 600)
            assert result["status"] == "completed", f"{result}\n{all_logs(folder)}"
            self._note_after(watch)
            self.state.digest = workload.digest(folder)
            self._keep(folder)
        if self.state.calm is None:
            self.state.calm = self._calm()
            self.state.save(self.file)
        return self.state

    def _next(self, striker: Striker, watch: Watch) -> None:
        number = len(self.state.hits)
        fault = self.faults[number]
        if watch.look().folder.result().get("status") == "completed":
            raise AssertionError(f"the run had ended before fault {number + 1} could hit: {fault}")
        try:
            self.state.hits.append(striker.strike(number, fault))
        except TooLate as late:
            tries = self.state.tries[str(number)] = self.state.tries.get(str(number), 0) + 1
            print(f"fault {number + 1}: {late}", flush=True)
            if tries >= TRIES:
                # An early phase passes but once an attempt, and the next one comes after a fault alone.
                self.faults[number] = Fault(fault.kind, "step", fault.mark, fault.seed)
        self._note_after(watch)
        self._keep(RunFolder(self.root / NAME))

    def _note_after(self, watch: Watch) -> None:
        """The first step after each fault, once it was made."""
        watch.look()
        for hit in self.state.hits:
            if hit.after is None:
                hit.after = next((line["step"] for line in watch.losses if self._is_after(hit, line["t"], watch)), None)

    def _is_after(self, hit: Hit, when: str, watch: Watch) -> bool:
        starts = {int(line["attempt"]): line["t"] for line in watch.events if line["event"] == "started"}
        later = [number for number in starts if number > hit.attempt]
        same = hit.kind == "slurmctld" and when > hit.when
        return same or (bool(later) and when >= starts[min(later)])

    def _keep(self, folder: RunFolder) -> None:
        self.state.save(self.file)
        self.state.held[str(self.state.sessions)] = held(self.cluster, folder)
        self.state.save(self.file)

    def _calm(self) -> Stretch:
        folder = job.submit(self.login, self.root, CALM, self.steps)
        result = wait_for_end(folder, 900)
        assert result["status"] == "completed", f"{result}\n{all_logs(folder)}"
        return Stretch(self.steps, held(self.cluster, folder), step_seconds(folder), workload.digest(folder))


def held(cluster: Cluster, folder: RunFolder) -> float:
    """Seconds for which the jobs of a run have held their nodes on this cluster, over all starts."""
    jobs = {str(event["job_id"]) for event in folder.events() if event["event"] == "submitted" and "job_id" in event}
    return held_by(cluster, jobs)


def held_by(cluster: Cluster, jobs: set[str]) -> float:
    """Seconds for which jobs have held their nodes, from Slurm's accounts. Raises ClusterError where these cannot be
    had in several tries: they are slow to answer on a busy machine."""
    words = [
        "sacct",
        "-D",
        "-X",
        "--noheader",
        "--parsable2",
        "--format=ElapsedRaw",
        f"--jobs={','.join(sorted(jobs))}",
    ]
    for last in (False, False, True):
        done = cluster.run(words, timeout=60, check=last)
        if done.returncode == 0:
            break
        time.sleep(2.0)
    return float(sum(int(line) for line in done.stdout.split() if line.isdigit()))


def step_seconds(folder: RunFolder) -> float:
    """Median seconds of a step."""
    return statistics.median(float(line["seconds"]) for line in folder.metrics() if "loss" in line)
