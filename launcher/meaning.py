"""What a site's facts mean for runs, in words."""

from collections.abc import Iterator
from dataclasses import dataclass

from launcher.progress import clock
from launcher.slurm.facts import Partition, Preemption, SiteFacts

OLDEST = (22, 5)
"""The oldest Slurm that runs are made for."""


@dataclass(frozen=True)
class Meaning:
    """One consequence."""

    about: str
    """requeue, preemption, signals, arrays, limits, accounting, partitions, programs or version."""
    message: str
    """A sentence for people."""


def meanings(facts: SiteFacts) -> list[Meaning]:
    """All that follows for runs, in the order of a run's life. Of what is not known nothing is said."""
    said = {
        "version": _version, "programs": _programs, "partitions": _partitions, "limits": _limits, "arrays": _arrays,
        "requeue": _requeue, "preemption": _preemption, "signals": _signals, "accounting": _accounting,
    }  # fmt: skip
    return [Meaning(about, message) for about, words in said.items() for message in words(facts)]


def _version(facts: SiteFacts) -> Iterator[str]:
    parts = (facts.version or "").split(".")
    if len(parts) > 1 and all(part.isdecimal() for part in parts[:2]) and (int(parts[0]), int(parts[1])) < OLDEST:
        yield f"Slurm {facts.version} is older than 22.05, the oldest that runs are tested with"


def _programs(facts: SiteFacts) -> Iterator[str]:
    lost = {
        "sbatch": "no sbatch here: runs cannot be submitted from this machine",
        "squeue": "no squeue here: status knows run folders alone",
        "scontrol": "no scontrol here: what the controller is set to cannot be seen from this machine",
        "scancel": "no scancel here: runs are cancelled from another machine",
    }
    yield from (words for program, words in lost.items() if facts.programs.get(program) is False)


def _partitions(facts: SiteFacts) -> Iterator[str]:
    if not facts.partitions:
        return
    default = facts.partition()
    if default is None:
        names = ", ".join(each.name for each in facts.partitions)
        yield f"no partition is the default: every run says site.partition=, one of {names}"
    else:
        yield f"a run that does not say site.partition goes to {default.name}"
    down = [each.name for each in facts.partitions if not each.up]
    if down:
        yield f"nothing starts at present in {', '.join(down)}"


def _limits(facts: SiteFacts) -> Iterator[str]:
    limit = facts.submit_limit()
    if limit is not None and limit != facts.max_job_count:
        yield f"you may have {limit} jobs queued and running at once: larger sweeps are fed in by parts"


def _arrays(facts: SiteFacts) -> Iterator[str]:
    if facts.max_array_size is not None and facts.max_array_size <= 1:
        yield "arrays are switched off (MaxArraySize): each trial of a sweep is a job of its own"
    elif facts.max_array_size is not None:
        yield f"arrays of up to {facts.max_array_size} tasks: larger sweeps are split"


def _requeue(facts: SiteFacts) -> Iterator[str]:
    again = f"eligible again {_time(facts.requeue_delay_seconds)} after"
    if facts.requeue is False:
        yield "requeue is forbidden here: runs go on by a singleton chain of jobs"
    elif facts.requeue is None and facts.submit_plugins:
        yield (
            f"requeue: a submit plugin ({', '.join(facts.submit_plugins)}) may change what a job asks for; whether it "
            "lets a job be requeued is tried by `python -m launcher doctor --from-node`"
        )
    elif facts.requeue and facts.job_requeue is False:
        yield f"jobs are requeued only where they ask for it (JobRequeue=0). Runs ask: the same job is {again}"
    elif facts.requeue:
        yield f"requeue is allowed: a run that is interrupted goes on as the same job, {again}"


def _preemption(facts: SiteFacts) -> Iterator[str]:
    by_qos = (facts.preempt_type or "").endswith("/qos")
    groups: dict[Preemption, list[str]] = {}
    places = [each.name for each in (facts.qos if by_qos else facts.partitions)]
    for name in places:
        found = facts.preemption(qos=name) if by_qos else facts.preemption(name)
        if found is not None:
            groups.setdefault(found, []).append(name)
    what = "QOS" if by_qos else "partition"
    for found, names in groups.items():
        yield _fate(found, f"{what} {', '.join(names)}", facts)
    if by_qos and not places:
        yield "jobs are preempted by QOS, and accounting does not say by which: expect a preemption at any time"


def _fate(found: Preemption, where: str, facts: SiteFacts) -> str:
    if found.mode == "off":
        return f"{where}: runs are not preempted"
    by = f" by a job of {', '.join(found.by)}"
    safe = f" It is safe from that for its first {_time(found.exempt_seconds)}." if found.exempt_seconds else ""
    if found.mode == "suspend":
        return f"{where}: a run may be suspended{by}, and goes on by itself; nothing is lost or saved.{safe}".rstrip()
    notice = found.notice_seconds or facts.kill_wait_seconds
    given = f"gets {_time(notice)}" if notice is not None else "gets KillWait, which is not known,"
    why = " (GraceTime)" if found.notice_seconds else " (KillWait; there is no GraceTime)"
    signal = "its own --signal" if facts.user_signal and found.notice_seconds else "SIGTERM"
    asks = "asks for its requeue" if facts.requeue is not False else "leaves; the next job of its chain goes on"
    end = " before the site cancels it" if found.mode == "cancel" else ""
    late = ""
    if not found.notice_seconds:
        late = " Where saving takes longer, what was done since the last checkpoint is lost: see checkpoint.interval."
    return f"{where}: a run preempted{by} {given}{why} from {signal}: it saves and {asks}{end}.{safe}{late}"


def _signals(facts: SiteFacts) -> Iterator[str]:
    wait = facts.kill_wait_seconds
    if wait is not None:
        yield f"at its time limit, or cancelled, a job has {_time(wait)} from SIGTERM to SIGKILL (KillWait)"
    if facts.proctrack == "cgroup":
        yield "a signal to a step reaches what srun started, the agents, which hand it on (proctrack cgroup)"
    elif facts.proctrack in ("linuxproc", "pgid"):
        yield f"a signal to a step reaches data-loading processes too; they ignore it (proctrack {facts.proctrack})"


def _accounting(facts: SiteFacts) -> Iterator[str]:
    kept = f"after {_time(facts.min_job_age_seconds)}" if facts.min_job_age_seconds is not None else "some minutes on"
    if facts.accounting is False:
        yield f"no accounting: the run folder is the only record {kept}"
    elif facts.accounting and not facts.accounting_answers:
        why = facts.unknown.get("associations") or facts.unknown.get("accounting_answers") or "it gave no answer"
        yield f"accounting does not answer ({why}): until it does the run folder is the only record {kept}"
    elif facts.accounting:
        yield f"squeue forgets a job {kept}; accounting knows it from then on"


def describe(partition: Partition) -> str:
    """A partition on one line."""
    longest = "no time limit" if partition.max_seconds is None else f"up to {_time(partition.max_seconds)}"
    states = ", ".join(f"{number} {state}" for state, number in sorted(partition.states.items()))
    parts = [
        "default" if partition.default else "",
        "" if partition.up else "down",
        longest,
        f"{partition.nodes} nodes" + (f" ({states})" if states else ""),
        " and ".join(partition.gres) or "no devices",
    ]
    return ", ".join(part for part in parts if part)


def _time(seconds: int) -> str:
    return f"{seconds} s" if seconds < 120 else clock(float(seconds))
