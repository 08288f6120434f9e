"""The storm's preemptions alone, on Slurmwright and on a plain TRL script under `sbatch --requeue`."""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from conf.folder import RunFolder
from tests.faults import inflict, workload
from tests.faults.watch import Tail, Watch
from tests.slurm.cluster import Cluster
from tests.slurm.launching import wait_for_end
from tests.storm import job
from tests.storm.state import Stretch
from tests.storm.storm import Storm, held, held_by

INTERVAL = 100
"""Steps between the saves of both, Slurmwright's default. It needs none of them for a preemption."""
STRETCH = 10
"""What is a step in the storm's schedule is this many here, so that a save lies between two preemptions now and then.
"""
REST = 50
"""Steps after the last preemption."""
LONGEST = 900.0
"""Seconds that either may take in all."""
PLAIN = Path(__file__).with_name("plain.py")


def compare(storm: Storm) -> None:
    """Run both, where the state has no result of them yet, and keep what came of it."""
    marks = preemptions(storm)
    state = storm.state
    if state.ours is None:
        state.ours = ours(storm, marks)
        state.save(storm.file)
    if state.plain is None:
        state.plain = plain(storm, marks)
        state.save(storm.file)


def preemptions(storm: Storm) -> list[int]:
    """The steps at which the preemptions come: their distances in the storm's schedule, stretched."""
    marks, before = [], 0
    for fault in storm.faults:
        if fault.kind == "preemption":
            before = max(fault.mark * STRETCH // max(1, len(storm.faults) // 10), before + INTERVAL // 4)
            marks.append(before)
    return marks or [INTERVAL + INTERVAL // 2]


def ours(storm: Storm, marks: list[int]) -> Stretch:
    """Slurmwright."""
    steps = marks[-1] + REST
    # Prepared before it starts and never evaluated, as the script.
    words = job.words(storm.home, storm.root, "preempted", steps, INTERVAL)
    folder = storm.login.submit(*words, "evaluation.max_rows=0")
    watch = Watch(folder)
    for number, mark in enumerate(marks, start=1):
        watch.until(_reaches(number, mark), 300, f"step {mark} in attempt {number}")
        preempt(storm.cluster, inflict.job_of(folder))
    result = wait_for_end(folder, LONGEST)
    assert result["status"] == "completed", result
    lines = watch.look().losses
    return Stretch(
        steps, held(storm.cluster, folder), statistics.median(float(line["seconds"]) for line in lines),
        workload.digest(folder), len(lines) - steps, result["attempts"] - 1,
    )  # fmt: skip


def _reaches(attempt: int, mark: int) -> Callable[[Watch], bool]:
    """Whether an attempt has made a step, and the run the step `mark`."""
    return lambda run: run.attempt >= attempt and run.step >= mark and bool(run.steps_of(attempt))


def plain(storm: Storm, marks: list[int]) -> Stretch:
    """The plain script. Where its job is gone after a preemption, it is submitted again at once, as by a person who
    does nothing but watch it."""
    steps, output = marks[-1] + REST, storm.root / "plain"
    output.mkdir(parents=True, exist_ok=True)
    assets = RunFolder(storm.root / "preempted").manifest()["assets"]
    script = _script(assets["model"]["path"], f"{assets['data']['path']}/train", output, steps)
    jobs = [storm.cluster.sbatch(script, *_FLAGS, f"--output={output}/log", cwd=output)]
    tail = Tail(output / "metrics.jsonl")

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + LONGEST
        while not condition():
            assert time.monotonic() < deadline, f"the plain script does not end\n{(output / 'log').read_text()[-3000:]}"
            if _gone(storm.cluster, jobs[-1]) and not ended():
                jobs.append(storm.cluster.sbatch(script, *_FLAGS, f"--output={output}/log", cwd=output))
            time.sleep(0.3)

    def reached(mark: int, known: int) -> bool:
        """Whether it has made a new line since the last preemption, and the step `mark`."""
        tail.read()
        return ended() or (len(tail.lines) > known and int(tail.lines[-1]["step"]) >= mark)

    def ended() -> bool:
        return (output / "done").exists()

    hit = known = 0
    for mark in marks:
        wait(partial(reached, mark, known))
        if not ended():
            hit += 1
            preempt(storm.cluster, jobs[-1])
            wait(lambda: ended() or storm.cluster.job(jobs[-1]).get("JobState") != "RUNNING")
            tail.read()
            known = len(tail.lines)
    wait(lambda: ended() and _gone(storm.cluster, jobs[-1]))
    tail.read()
    return Stretch(
        steps, held_by(storm.cluster, set(jobs)), statistics.median(float(line["seconds"]) for line in tail.lines),
        None, len(tail.lines) - steps, hit, len(jobs) - 1,
    )  # fmt: skip


def preempt(cluster: Cluster, job_id: str) -> None:
    """A preemption of whatever node the job has first."""
    names = cluster.job(job_id)["NodeList"]
    first = cluster.run(["scontrol", "show", "hostnames", names]).stdout.split()[0]
    inflict.preempt(cluster, first)


def goodput(run: Stretch, step_seconds: float) -> float:
    """Useful steps x calm step time / time held."""
    return run.steps * step_seconds / run.held


def _gone(cluster: Cluster, job_id: str) -> bool:
    return cluster.job(job_id).get("JobState", "COMPLETED") not in (
        "PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED",
    )  # fmt: skip


_FLAGS = (
    "--partition=low", f"--nodes={job.NODES}", "--ntasks-per-node=1", "--requeue", "--open-mode=append", "--time=10",
    "--gres=gpu:h100:1", "--job-name=plain",
)  # fmt: skip


def _script(model: str, rows: str, output: Path, steps: int) -> str:
    """What a person writes for two nodes without a tool."""
    ranks = "export RANK=$SLURM_PROCID WORLD_SIZE=$SLURM_NTASKS LOCAL_RANK=0 GLOO_SOCKET_IFNAME=eth0 OMP_NUM_THREADS=1"
    command = f"{sys.executable} {PLAIN} {model} {rows} {output} {steps} {INTERVAL}"
    return (
        'export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)\n'
        "export MASTER_PORT=$((20000 + SLURM_JOB_ID % 10000)) HF_HUB_OFFLINE=1\n"
        f"srun --open-mode=append bash -c '{ranks}; exec {command}'"
    )
