"""What is known of a site's Slurm, and what follows from it for a job. None is what could not be learnt or has no
limit; `SiteFacts.unknown` tells the two apart."""

from dataclasses import dataclass, field
from typing import Literal

DEFAULT_CREDENTIAL_SECONDS = 120
"""Slurm's own lifetime of a job credential; a requeued job waits that long, so that its old one is void."""
NEVER_FORBID = frozenset(
    {"all_partitions", "defaults", "logging", "none", "partition", "pbs", "require_timelimit", "syslog", "throttle",
     "user_defaults"}
)  # fmt: skip
"""Slurm's own plugins that leave alone whether a job may be requeued. Others (lua, a site's own) may do anything."""
HISTORY_DAYS = 28
"""Days of accounts that are read for how often nodes fail."""
PreemptMode = Literal["off", "requeue", "cancel", "suspend"]


@dataclass(frozen=True)
class Partition:
    """One partition as this user sees it."""

    name: str
    default: bool
    """Whether jobs go there that name none."""
    up: bool
    """Whether jobs are started in it."""
    max_seconds: int | None
    """Longest time limit; None is none."""
    default_seconds: int | None
    """Time limit of a job that gives none; None is the longest."""
    nodes: int | None
    states: dict[str, int]
    """Nodes by state, as sinfo names them without flags; {} where it was not to be had."""
    gres: tuple[str, ...]
    """Generic resources of its nodes, as `gpu:h100:8`, one entry for each sort of node."""
    preempt_mode: str | None = None
    """PreemptMode in Slurm's word."""
    grace_seconds: int | None = None
    """GraceTime: from the notice of a preemption to its end."""
    priority_tier: int | None = None
    """Jobs of a higher tier preempt those of a lower one under preempt/partition_prio."""
    qos: str | None = None
    """QOS whose limits hold for all jobs of the partition."""


@dataclass(frozen=True)
class Qos:
    """One quality of service, from accounting."""

    name: str
    preempts: tuple[str, ...] = ()
    """QOS whose jobs its jobs may preempt under preempt/qos."""
    preempt_mode: str | None = None
    """Its own PreemptMode; None is the cluster's."""
    grace_seconds: int | None = None
    exempt_seconds: int | None = None
    """PreemptExemptTime; None is the cluster's."""
    max_jobs: int | None = None
    """Running jobs of one user."""
    max_submit: int | None = None
    """Queued and running jobs of one user; each task of an array is one."""
    max_seconds: int | None = None
    """Longest time limit."""


@dataclass(frozen=True)
class Association:
    """What this user may do under one account."""

    account: str
    partition: str | None = None
    """Partition that it is for; None is any."""
    qos: tuple[str, ...] = ()
    """QOS that may be asked for."""
    default_qos: str | None = None
    max_jobs: int | None = None
    """Running jobs."""
    max_submit: int | None = None
    """Queued and running jobs; each task of an array is one."""


@dataclass(frozen=True)
class Preemption:
    """What becomes of a job that another one displaces."""

    mode: PreemptMode
    notice_seconds: int = 0
    """From SIGTERM to its steps until Slurm ends it; 0 leaves KillWait alone."""
    by: tuple[str, ...] = ()
    """Partitions or QOS whose jobs may do it."""
    exempt_seconds: int = 0
    """A job that has run for less is left alone."""


@dataclass(frozen=True)
class History:
    """What became of this user's own jobs in the last HISTORY_DAYS."""

    node_failures: int
    """Jobs that lost a node."""
    node_hours: float
    """Hours for which they held nodes, times nodes."""


@dataclass(frozen=True)
class SiteFacts:
    """Everything that the probe learns. Fields that are None or () and named in `unknown` were not to be had."""

    asked: str
    """When, as ISO 8601 in UTC."""
    programs: dict[str, bool]
    """Slurm's programs, and whether they are on the PATH here."""
    unknown: dict[str, str] = field(default_factory=dict)
    """Field -> why it is not known."""
    complete: bool = True
    """Whether everything that was asked answered; what did not may do so a minute later."""
    cluster: str | None = None
    controllers: tuple[str, ...] = ()
    version: str | None = None
    """As `22.05.8`."""
    job_requeue: bool | None = None
    """JobRequeue: whether a job that says nothing may be requeued. One that says --requeue may, either way."""
    submit_plugins: tuple[str, ...] = ()
    """JobSubmitPlugins and CliFilterPlugins: what may change a job as it is submitted."""
    requeue_tried: bool | None = None
    """Whether a job submitted with --requeue was recorded as one that may be requeued; None where it was not tried."""
    credential_seconds: int | None = None
    """AuthInfo's cred_expire."""
    preempt_type: str | None = None
    preempt_mode: str | None = None
    preempt_parameters: tuple[str, ...] = ()
    preempt_exempt_seconds: int | None = None
    user_signal: bool | None = None
    """Whether a preempted job gets its own --signal in place of SIGTERM (preempt_send_user_signal)."""
    kill_wait_seconds: int | None = None
    """From SIGTERM to SIGKILL."""
    proctrack: str | None = None
    """ProctrackType without its prefix: cgroup, linuxproc, pgid."""
    max_array_size: int | None = None
    """Tasks of the largest array, numbered from 0: one more than the highest index."""
    max_job_count: int | None = None
    """Jobs that the controller holds, of all users."""
    min_job_age_seconds: int | None = None
    """How long squeue knows a job that is over."""
    accounting: bool | None = None
    """Whether there is accounting at all."""
    accounting_answers: bool | None = None
    """Whether its database answered; None where there is none."""
    partitions: tuple[Partition, ...] = ()
    qos: tuple[Qos, ...] = ()
    associations: tuple[Association, ...] = ()
    history: History | None = None

    @property
    def requeue(self) -> bool | None:
        """Whether a run's job, which asks with --requeue, may be requeued; None where a plugin decides, untried."""
        if self.requeue_tried is not None:
            return self.requeue_tried
        return None if set(self.submit_plugins) - NEVER_FORBID or self.job_requeue is None else True

    @property
    def requeue_delay_seconds(self) -> int:
        """From a requeue until the job is eligible again."""
        lifetime = self.credential_seconds
        return (DEFAULT_CREDENTIAL_SECONDS if lifetime is None else lifetime) + 1

    def partition(self, name: str | None = None) -> Partition | None:
        """A partition by name, of `a,b` the first; without a name the default one. None where there is no such."""
        wanted = name.partition(",")[0] if name else None
        return next((each for each in self.partitions if (each.name == wanted if wanted else each.default)), None)

    def submit_limit(
        self, partition: str | None = None, account: str | None = None, qos: str | None = None
    ) -> int | None:
        """Jobs that this user may have queued and running at once, by the narrowest limit that is known; without an
        account the narrowest of all accounts."""
        there = self.partition(partition)
        names = {qos or self._default_qos(), there.qos if there else None}
        limits = [self.max_job_count, *(each.max_submit for each in self.qos if each.name in names)]
        limits += [
            each.max_submit
            for each in self.associations
            if account in (None, each.account) and each.partition in (None, there.name if there else None)
        ]
        return min((limit for limit in limits if limit is not None), default=None)

    def preemption(self, partition: str | None = None, qos: str | None = None) -> Preemption | None:
        """What a preemption does to a job there; None where that is not known."""
        kind = (self.preempt_type or "").rpartition("/")[2]
        if kind == "partition_prio":
            return self._by_partition(self.partition(partition))
        if kind == "qos":
            wanted = qos or self._default_qos()
            return self._by_qos(next((each for each in self.qos if each.name == wanted), None))
        return None if self.preempt_type is None else Preemption("off")

    def _by_partition(self, there: Partition | None) -> Preemption | None:
        if there is None or there.priority_tier is None:
            return None
        above = tuple(each.name for each in self.partitions if (each.priority_tier or 0) > there.priority_tier)
        mode = read_mode(there.preempt_mode or self.preempt_mode)
        if mode == "off" or not above:
            return Preemption("off")
        return Preemption(mode, there.grace_seconds or 0, above, self.preempt_exempt_seconds or 0)

    def _by_qos(self, mine: Qos | None) -> Preemption | None:
        if mine is None:
            return None
        above = tuple(each.name for each in self.qos if mine.name in each.preempts)
        mode = read_mode(mine.preempt_mode or self.preempt_mode)
        if mode == "off" or not above:
            return Preemption("off")
        exempt = self.preempt_exempt_seconds if mine.exempt_seconds is None else mine.exempt_seconds
        return Preemption(mode, mine.grace_seconds or 0, above, exempt or 0)

    def _default_qos(self) -> str | None:
        named = {each.default_qos or (each.qos[0] if len(each.qos) == 1 else None) for each in self.associations}
        return named.pop() if len(named) == 1 else None


def read_mode(text: str | None) -> PreemptMode:
    """Slurm's PreemptMode without GANG and WITHIN, which say how jobs are chosen, not what becomes of them."""
    words = (text or "").lower().replace("+", ",").split(",")
    for mode in ("requeue", "cancel", "suspend"):
        if mode in words:
            return mode
    return "off"
