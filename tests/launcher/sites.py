"""Slurm's programs at the seam where the probe calls them, each answer chosen by words of the command line, in the form
that a real Slurm 22.05.8 prints."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

_PROGRAM = """#!{python} -IS
import json, os, sys, time
folder, name = {folder!r}, os.path.basename(sys.argv[0])
with open(os.path.join(folder, "calls"), "a") as calls:
    calls.write(json.dumps([name, *sys.argv[1:]]) + "\\n")
for program, words, code, text, seconds in reversed(json.load(open(os.path.join(folder, "answers.json")))):
    if program == name and all(word in sys.argv for word in words):
        time.sleep(seconds)
        if text == "RUN IT":
            first = sys.argv.index("/bin/sh")
            os.execv("/bin/sh", sys.argv[first:])
        (sys.stderr if code else sys.stdout).write(text)
        sys.exit(code)
"""
CONFIG = """\
Configuration data as of 2026-11-24T21:55:58
AccountingStorageType   = accounting_storage/slurmdbd
AuthInfo                = socket=/run/munge/munge.socket.2,cred_expire=5
ClusterName             = alps
CliFilterPlugins        = (null)
JobRequeue              = 1
JobSubmitPlugins        = (null)
KillWait                = 30 sec
MaxArraySize            = 1001
MaxJobCount             = 10000
MinJobAge               = 300 sec
PreemptMode             = REQUEUE
PreemptType             = preempt/partition_prio
PreemptExemptTime       = 00:00:00
ProctrackType           = proctrack/cgroup
SlurmctldHost[0]        = head(10.213.106.1)
SlurmctldHost[1]        = spare
SlurmctldParameters     = (null)
SLURM_VERSION           = 22.05.8

Slurmctld(primary) at head is UP
"""
PARTITIONS = """\
PartitionName=low AllowGroups=ALL Default=YES QoS=N/A DefaultTime=01:00:00 GraceTime=20 MaxTime=7-00:00:00 \
Nodes=n[1-4] PriorityTier=1 PreemptMode=REQUEUE State=UP TotalCPUs=64 TotalNodes=4 TRES=cpu=64,mem=1000G,node=4
PartitionName=high AllowGroups=ALL Default=NO QoS=narrow DefaultTime=NONE GraceTime=0 MaxTime=UNLIMITED \
Nodes=n[1-4] PriorityTier=100 PreemptMode=OFF State=UP TotalCPUs=64 TotalNodes=4 TRES=cpu=64,mem=1000G,node=4
"""
SINFO = (
    "low*\x1fup\x1f7-00:00:00\x1f1:00:00\x1f3\x1fidle~\x1fgpu:h100:8(S:0-1)\x1fREQUEUE\n"
    "low*\x1fup\x1f7-00:00:00\x1f1:00:00\x1f1\x1fdown*\x1f(null)\x1fREQUEUE\n"
    "high\x1fup\x1finfinite\x1fn/a\x1f4\x1fidle\x1fgpu:h100:8\x1fOFF\n"
)
QOS = "normal||cluster|00:00:00||||\nnarrow|normal|requeue|00:00:45|00:10:00|2|200|1-00:00:00\n"
HISTORY = "COMPLETED|2|1800\nREQUEUED|2|900\nNODE_FAIL|4|3600\nCANCELLED by 1000|1|0\n"
ASSOCIATIONS = "research||narrow,normal|normal||500\nroot|high|normal||4|\n"


class Site:
    """A site whose Slurm answers like the one above until it is told otherwise."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.answers: list[tuple[str, list[str], int, str, float]] = []
        folder.mkdir()
        for name in ("sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo", "sacct", "sacctmgr"):
            program = folder / name
            program.write_text(_PROGRAM.format(python=sys.executable, folder=str(folder)))
            program.chmod(0o755)
        self.answer("scontrol", ["config"], CONFIG)
        self.answer("scontrol", ["partition"], PARTITIONS)
        self.answer("sinfo", [], SINFO)
        self.answer("sinfo", ["--version"], "slurm-wlm 22.05.8\n")
        self.answer("sacctmgr", ["qos"], QOS)
        self.answer("sacctmgr", ["assoc"], ASSOCIATIONS)
        self.answer("sacct", [], HISTORY)
        self.answer("sbatch", [], "77\n")
        self.answer("scontrol", ["job"], "JobId=77 Requeue=1 Restarts=0\n")
        self.answer("srun", [], "RUN IT")
        # Nothing of a Slurm that this machine may have: the programs that sh needs are linked one by one.
        for name in ("uname", "date", "tail", "df", "rm"):
            (folder / name).symlink_to(shutil.which(name) or f"/bin/{name}")
        monkeypatch.setenv("PATH", str(folder))
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        for name in ("SLURM_CLUSTERS", "SLURM_JOB_ID", "SLURMWRIGHT_STORE"):
            monkeypatch.delenv(name, raising=False)
        (folder / "slurm.conf").write_text("ClusterName=alps\nSlurmctldHost=head\n")
        os.utime(folder / "slurm.conf", (0, 0))

    def answer(self, program: str, words: list[str], text: str, code: int = 0, seconds: float = 0.0) -> None:
        """What a program says from now on where these words are on its line; on stderr with a code other than 0."""
        self.answers.append((program, words, code, text, seconds))
        (self.folder / "answers.json").write_text(json.dumps(self.answers))

    def without(self, *programs: str) -> None:
        """Take programs off the PATH."""
        for program in programs:
            (self.folder / program).unlink()

    def calls(self, program: str | None = None) -> list[list[str]]:
        """The command lines so far, of one program or of all."""
        try:
            lines = [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]
        except FileNotFoundError:
            return []
        return [line for line in lines if program in (None, line[0])]
