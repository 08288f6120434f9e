"""The configuration files of a cluster, for Slurm 22.05 and later."""

from .layout import ACCOUNT, CPUS_PER_NODE, GPUS_PER_NODE, MEMORY_PER_NODE, NODES, Layout

SLURM_CONF = """\
ClusterName={suffix}
SlurmctldHost=head({head})
SlurmUser=root
SlurmctldPort=6817
SlurmdPort=6818
AuthType=auth/munge
AuthInfo=socket={munge_socket},cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
MailProg=/bin/true
MpiDefault=none

# No control groups: they belong to the real machine.
ProctrackType=proctrack/{proctrack}
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=5
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=2000
GresTypes=gpu

# Quick where a site is slow. A requeued job is eligible after cred_expire + 1 s; a dead node is found out after about
# 20 s (silent for SlurmdTimeout, then one more call that fails after MessageTimeout), still long for one that is busy.
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,batch_sched_delay=1,sched_interval=5
PriorityType=priority/basic
KillWait=5
SlurmctldTimeout=30
SlurmdTimeout=15
MessageTimeout=5
TCPTimeout=2
ReturnToService=2

PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
MaxArraySize=1001

{accounting}
{more}
{nodes}
PartitionName=DEFAULT Nodes=ALL State=UP DefaultTime=01:00:00 MaxTime=7-00:00:00
PartitionName=low Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
PartitionName=high Default=NO PriorityTier=100 PreemptMode=OFF GraceTime=0
"""

ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={head}
AccountingStoragePort=6819
# For munge, the path of its socket.
AccountingStoragePass={munge_socket}
AccountingStorageEnforce=associations,limits,qos
AccountingStorageTRES=gres/gpu
"""

SLURMDBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={munge_socket}
DbdHost=head
DbdAddr={head}
DbdPort=6819
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=3306
StorageUser=root
StorageLoc=slurm
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/run/slurmdbd.pid
"""


def files(layout: Layout, version: tuple[int, int]) -> dict[str, str]:
    """Name and text of every file in the data folder that some program reads; `version` is Slurm's, such as (22, 5)."""
    places = {
        "suffix": layout.suffix,
        "folder": layout.folder,
        "head": layout.address("head"),
        "munge_socket": layout.munge_socket,
        "proctrack": layout.proctrack,
        "more": layout.more,
    }
    nodes = "".join(
        f"NodeName={node} NodeHostname={node} NodeAddr={layout.address(node)} CPUs={CPUS_PER_NODE}"
        f" Sockets=2 CoresPerSocket={CPUS_PER_NODE // 2} ThreadsPerCore=1 RealMemory={MEMORY_PER_NODE}"
        f" Gres=gpu:h100:{GPUS_PER_NODE}\n"
        for node in NODES
    )
    accounting = ACCOUNTING.format(**places) if layout.accounting else "AccountingStorageType=accounting_storage/none\n"
    hosts = ["127.0.0.1 localhost", *(f"{layout.address(host)} {host}" for host in ("head", "login", *NODES))]
    return {
        "slurm.conf": SLURM_CONF.format(**places, nodes=nodes, accounting=accounting),
        "slurmdbd.conf": SLURMDBD_CONF.format(**places),
        "gres.conf": f"AutoDetect=off\nName=gpu Type=h100 File={layout.folder}/gpu/h100-[0-{GPUS_PER_NODE - 1}]\n",
        # slurmd looks for control groups even where nothing uses them. `disabled` stops that from 23.11 on; before, the
        # plugin for version 1 touches nothing until it is used.
        "cgroup.conf": f"CgroupPlugin={'disabled' if version >= (23, 11) else 'cgroup/v1'}\n",
        "hosts": "\n".join(hosts) + "\n",
    }


def sacctmgr_commands(layout: Layout) -> list[list[str]]:
    """What a site's operator would type once to let root run jobs under an account."""
    return [
        ["add", "cluster", layout.suffix],
        ["add", "account", ACCOUNT, f"cluster={layout.suffix}", "description=tests", "organization=tests"],
        ["add", "user", "root", f"account={ACCOUNT}", f"cluster={layout.suffix}"],
        ["modify", "user", "root", "set", f"defaultaccount={ACCOUNT}"],
    ]
