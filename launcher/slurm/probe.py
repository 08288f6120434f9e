"""The probe: what is asked of a site's Slurm, and how its answers become facts. Text, not JSON, whose shape changes
between versions; every call has a time limit, and what does not answer is not asked again."""

import getpass
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from conf.folder import now
from launcher.errors import SiteError
from launcher.slurm.command import NoAnswer, available, call
from launcher.slurm.facts import HISTORY_DAYS, Association, History, Partition, Qos, SiteFacts
from launcher.slurm.reading import (
    read_config,
    read_list,
    read_number,
    read_parameter,
    read_seconds,
    read_text,
    read_words,
)

TIMEOUT = 20.0
"""Seconds for one question."""
PROGRAMS = ("sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo", "sacct", "sacctmgr")
_PLAIN = {"SLURM_TIME_FORMAT": "standard", "SLURM_BITSTR_LEN": "0"}
_SEPARATOR = "\x1f"
_SINFO = ("%P", "%a", "%l", "%L", "%D", "%T", "%G", "%M")
_QOS = (
    "Name", "Preempt", "PreemptMode", "GraceTime", "PreemptExemptTime", "MaxJobsPerUser", "MaxSubmitJobsPerUser",
    "MaxWall",
)  # fmt: skip
_ASSOCIATION = ("Account", "Partition", "QOS", "DefaultQOS", "MaxJobs", "MaxSubmitJobs")
_CONFIG_FIELDS = (
    "cluster", "controllers", "job_requeue", "submit_plugins", "credential_seconds", "preempt_type", "preempt_mode",
    "preempt_parameters", "preempt_exempt_seconds", "user_signal", "kill_wait_seconds", "proctrack", "max_array_size",
    "max_job_count", "min_job_age_seconds", "accounting",
)  # fmt: skip


class Questions:
    """Calls of Slurm's programs that note why a fact is not to be had, and ask no daemon twice that is silent."""

    def __init__(self) -> None:
        self.unknown: dict[str, str] = {}
        """Field -> why it is not known."""
        self.silent: dict[str, str] = {}
        """Daemon -> its silence in words."""

    def ask(self, daemon: str, fields: Sequence[str], command: Sequence[str]) -> str | None:
        """A program's answer, which `fields` come from; None where there was none."""
        why = self.silent.get(daemon)
        if why is None and not available(command[0]):
            why = f"there is no {command[0]} on the PATH"
        if why is None:
            try:
                return call(command, TIMEOUT, os.environ | _PLAIN)
            except NoAnswer as error:
                why = self.silent[daemon] = error.message
            except SiteError as error:
                why = error.message
        self.unknown.update(dict.fromkeys(fields, why))
        return None


def probe() -> SiteFacts:
    """Ask this site's Slurm everything. Some seconds; under a minute where nothing answers.

    Raises SiteError where this machine has no Slurm, or its controller does not answer."""
    programs = {program: available(program) for program in PROGRAMS}
    if not any(programs[program] for program in ("sbatch", "scontrol", "sinfo")):
        raise SiteError(
            "there is no Slurm on this machine (no sbatch, scontrol or sinfo on the PATH): type this on a login node"
        )
    questions = Questions()
    facts = SiteFacts(now(), programs)
    config = questions.ask("slurmctld", _CONFIG_FIELDS, ["scontrol", "show", "config"])
    if config is not None:
        facts = replace(facts, **config_facts(read_config(config)))
    facts = replace(facts, partitions=_partitions(questions))
    if "slurmctld" in questions.silent:
        raise SiteError(f"Slurm is installed here, and its controller does not answer: {questions.silent['slurmctld']}")
    if facts.version is None:
        facts = replace(facts, version=_version(questions))
    if facts.accounting is False:
        questions.unknown.update(dict.fromkeys(("qos", "associations", "history"), "this site has no accounting"))
    else:
        facts = replace(facts, **_accounting(questions, facts))
    # What one program could not tell another may have told.
    unknown = {name: why for name, why in questions.unknown.items() if getattr(facts, name, None) in (None, ())}
    return replace(facts, unknown=unknown, complete=not questions.silent)


def config_facts(config: dict[str, str]) -> dict[str, Any]:
    """Fields of SiteFacts from `scontrol show config`, by name."""
    controllers = [value for name, value in config.items() if name.startswith("SlurmctldHost")]
    storage = read_text(config.get("AccountingStorageType"))
    parameters = config.get("PreemptParameters")
    plugins = read_list(config.get("JobSubmitPlugins")) + read_list(config.get("CliFilterPlugins"))
    # The flag moved from SlurmctldParameters to PreemptParameters in the course of versions.
    signals = (
        read_parameter(config.get("SlurmctldParameters"), "preempt_send_user_signal"),
        read_parameter(parameters, "send_user_signal"),
    )
    return {
        "cluster": read_text(config.get("ClusterName")),
        "controllers": tuple(value.partition("(")[0] for value in controllers),
        "version": read_text(config.get("SLURM_VERSION")),
        "job_requeue": {"0": False, "1": True}.get(config.get("JobRequeue", "")),
        "submit_plugins": tuple(plugin.rpartition("/")[2] for plugin in plugins),
        "credential_seconds": read_number(read_parameter(config.get("AuthInfo"), "cred_expire")),
        # Later versions write (null) where nothing preempts.
        "preempt_type": (read_text(config["PreemptType"]) or "preempt/none") if "PreemptType" in config else None,
        "preempt_mode": config.get("PreemptMode") or None,
        "preempt_parameters": read_list(parameters),
        "preempt_exempt_seconds": read_seconds(config.get("PreemptExemptTime")),
        "user_signal": any(signal is not None for signal in signals),
        "kill_wait_seconds": read_seconds(config.get("KillWait")),
        "proctrack": (config.get("ProctrackType") or "").rpartition("/")[2] or None,
        "max_array_size": read_number(config.get("MaxArraySize")),
        "max_job_count": read_number(config.get("MaxJobCount")),
        "min_job_age_seconds": read_seconds(config.get("MinJobAge")),
        "accounting": storage is not None and storage.rpartition("/")[2] in ("slurmdbd", "mysql"),
    }


def _partitions(questions: Questions) -> tuple[Partition, ...]:
    layout = f"--format={_SEPARATOR.join(_SINFO)}"
    nodes = questions.ask("slurmctld", ("partitions.states", "partitions.gres"), ["sinfo", "--noheader", layout])
    more = ("partitions.grace_seconds", "partitions.priority_tier", "partitions.qos", "partitions.default_seconds")
    shown = questions.ask("slurmctld", more, ["scontrol", "show", "partition", "--oneliner"])
    seen = read_sinfo(nodes or "")
    if shown is None:
        return tuple(seen.values())
    return tuple(_joined(each, seen.get(each.name)) for each in read_partitions(shown))


def _joined(shown: Partition, seen: Partition | None) -> Partition:
    return shown if seen is None else replace(shown, states=seen.states, gres=seen.gres)


def read_partitions(text: str) -> list[Partition]:
    """Partitions from `scontrol show partition --oneliner`; lines of any other form are left out."""
    return [
        Partition(
            name=words["PartitionName"],
            default=words.get("Default", "").upper() == "YES",
            up=words.get("State", "").upper() == "UP",
            max_seconds=read_seconds(words.get("MaxTime")),
            default_seconds=read_seconds(words.get("DefaultTime")),
            nodes=read_number(words.get("TotalNodes")),
            states={},
            gres=(),
            preempt_mode=words.get("PreemptMode") or None,
            grace_seconds=read_seconds(words.get("GraceTime")),
            priority_tier=read_number(words.get("PriorityTier")),
            qos=read_text(words.get("QoS")),
        )
        for words in map(read_words, text.splitlines())
        if words.get("PartitionName")
    ]


def read_sinfo(text: str) -> dict[str, Partition]:
    """Partitions by name from sinfo's output in our format, its lines for several sorts of nodes put together."""
    found: dict[str, Partition] = {}
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(_SEPARATOR)]
        if len(parts) != len(_SINFO) or not parts[0]:
            continue
        name, up, longest, default, count, state, gres, mode = parts
        chosen, name = name.endswith("*"), name.removesuffix("*")
        before = found.get(name)
        states = dict(before.states) if before else {}
        number = read_number(count) or 0
        word = re.sub(r"[^a-z_]", "", state.lower())
        if number:
            states[word] = states.get(word, 0) + number
        kinds = dict.fromkeys((*(before.gres if before else ()), *_gres(gres)))
        found[name] = Partition(
            name, chosen, up.lower() == "up", read_seconds(longest), read_seconds(default),
            sum(states.values()), states, tuple(kinds), mode or None,
        )  # fmt: skip
    return found


def _gres(text: str) -> tuple[str, ...]:
    """`gpu:h100:8(S:0-1)` without the sockets; several kinds of one sort of node stay one entry."""
    plain = ",".join(read_list(re.sub(r"\([^)]*\)", "", text)))
    return (plain,) if plain else ()


def _version(questions: Questions) -> str | None:
    for program in ("sinfo", "sbatch"):
        said = questions.ask(program, ("version",), [program, "--version"])
        found = re.search(r"\d+\.\d+(?:\.\d+)?\S*", said or "")
        if found:
            return found[0]
    return None


def _accounting(questions: Questions, facts: SiteFacts) -> dict[str, Any]:
    """What the database knows of this user's limits, and whether it answers."""
    listing = ["sacctmgr", "--parsable2", "--noheader", "show"]
    mine = [f"user={getpass.getuser()}", *([f"cluster={facts.cluster}"] if facts.cluster else [])]
    associations = questions.ask(
        "slurmdbd", ("associations",), [*listing, "assoc", "where", *mine, f"format={','.join(_ASSOCIATION)}"]
    )
    qos = questions.ask("slurmdbd", ("qos",), [*listing, "qos", f"format={','.join(_QOS)}"])
    answers = associations is not None or qos is not None
    if not answers and not facts.programs["sacctmgr"]:
        ask = ["sacct", "--noheader", "--parsable2", "--allocations", "--format=JobID", "--starttime=now"]
        answers = questions.ask("slurmdbd", ("accounting_answers",), ask) is not None
    history = None
    if answers:
        ask = ["sacct", "--noheader", "--parsable2", "--allocations", "--duplicates", f"--user={getpass.getuser()}"]
        ask += [f"--starttime=now-{HISTORY_DAYS}days", "--format=State,NNodes,ElapsedRaw"]
        history = questions.ask("slurmdbd", ("history",), ask)
    return {
        # Without scontrol only an answer tells that there is accounting.
        "accounting": facts.accounting or (answers or None),
        "accounting_answers": answers,
        "associations": read_associations(associations or ""),
        "qos": read_qos(qos or ""),
        "history": None if history is None else read_history(history),
    }


def read_qos(text: str) -> tuple[Qos, ...]:
    """QOS from sacctmgr's output; lines of any other form are left out."""
    return tuple(
        Qos(
            name,
            read_list(preempts),
            None if mode.lower() == "cluster" else read_text(mode),
            read_seconds(grace),
            read_seconds(exempt),
            read_number(jobs),
            read_number(submit),
            read_seconds(wall),
        )
        for name, preempts, mode, grace, exempt, jobs, submit, wall in _rows(text, len(_QOS))
    )


def read_associations(text: str) -> tuple[Association, ...]:
    """Associations from sacctmgr's output; lines of any other form are left out."""
    return tuple(
        Association(
            account, read_text(partition), read_list(qos), read_text(default), read_number(jobs), read_number(submit)
        )
        for account, partition, qos, default, jobs, submit in _rows(text, len(_ASSOCIATION))
    )


def read_history(text: str) -> History:
    """Failures and node-hours from sacct's output, each start of a job a line; lines of any other form are left out."""
    jobs = [(state, int(nodes) * int(seconds)) for state, nodes, seconds in _rows(text, 3)
            if nodes.isdecimal() and seconds.isdecimal()]  # fmt: skip
    failures = sum(state == "NODE_FAIL" for state, _ in jobs)
    return History(failures, round(sum(held for _, held in jobs) / 3600, 3))


def _rows(text: str, columns: int) -> list[list[str]]:
    rows = [line.split("|") for line in text.splitlines()]
    return [row for row in rows if len(row) == columns and row[0].strip()]
