"""Long flags of sbatch, Slurm 22.05 to 24.11: which a site may add, and which a field of ours stands for.

Source: the manual pages of sbatch, https://slurm.schedmd.com/archive/."""

_FREE = """
    acctg-freq batch bb bbf cluster-constraint comment consolidate-segments container container-id contiguous core-spec
    cores-per-socket cpu-freq cpus-per-gpu deadline delay-boot distribution export export-file extra extra-node-info
    gid gpu-bind gpu-freq gres gres-flags hint hold ignore-pbs kill-on-invalid-dep licenses mcs-label mem-bind
    mem-per-cpu mem-per-gpu mincpus network nice no-kill oom-kill-step overcommit oversubscribe power prefer priority
    profile propagate reboot segment sockets-per-node spread-job stepmgr switches thread-spec threads-per-core
    time-min tmp tres-bind tres-per-task uid use-min-nodes wait-all-nodes wckey
"""
FREE = frozenset(_FREE.split())
"""Flags that site.sbatch passes on as they are."""

OWNED: dict[str, str] = {
    "account": "use site.account",
    "array": "many runs come from a sweep, and one run is one job",
    "begin": "use site.begin",
    "chdir": "the job runs in the run folder's code, see run.root",
    "clusters": "submit on a login node of that cluster",
    "constraint": "use site.constraint",
    "cpus-per-task": "use site.cpus_per_task",
    "dependency": "use site.dependency, or after=RUN",
    "error": "logs lie in the run folder, see run.root",
    "exclude": "use site.exclude",
    "exclusive": "use site.exclusive=true",
    "get-user-env": "load what the job needs with site.modules or site.setup",
    "gpus": "use cluster.devices_per_node",
    "gpus-per-node": "use cluster.devices_per_node with site.gpu_request=gpus_per_node",
    "gpus-per-socket": "use cluster.devices_per_node",
    "gpus-per-task": "use cluster.devices_per_node",
    "help": "it submits nothing",
    "input": "the trainer reads no standard input",
    "job-name": "use name; the job is called as the run",
    "mail-type": "use site.mail_type",
    "mail-user": "use site.mail",
    "mem": "use site.mem",
    "no-requeue": "use site.requeue=false; the run then goes on in a chain of jobs",
    "nodefile": "use site.nodelist",
    "nodelist": "use site.nodelist",
    "nodes": "use cluster.nodes",
    "ntasks": "there is one task on each node; use cluster.nodes and cluster.devices_per_node",
    "ntasks-per-core": "there is one task on each node; use cluster.devices_per_node",
    "ntasks-per-gpu": "there is one task on each node; use cluster.devices_per_node",
    "ntasks-per-node": "there is one task on each node; use cluster.devices_per_node",
    "ntasks-per-socket": "there is one task on each node; use cluster.devices_per_node",
    "open-mode": "logs are always appended to",
    "output": "logs lie in the run folder, see run.root",
    "parsable": "the launcher reads the job id itself",
    "partition": "use site.partition",
    "qos": "use site.qos",
    "quiet": "the launcher reads what sbatch says",
    "requeue": "runs are requeued and resume by themselves; see site.requeue",
    "reservation": "use site.reservation",
    "signal": "the launcher decides on signals",
    "test-only": "use the verb plan",
    "time": "use cluster.time",
    "usage": "it submits nothing",
    "verbose": "the launcher reads what sbatch says",
    "version": "it submits nothing",
    "wait": "follow a run with the verb logs RUN -f",
    "wrap": "what runs is the trainer",
}
"""Flags that are ours, each with what to type instead."""


def canonical(flag: str) -> str:
    """A flag as sbatch spells it: `mem_per_gpu` is `mem-per-gpu`."""
    return flag.replace("_", "-")
