"""What a run asks of Slurm: the flags of sbatch, as a mapping."""

from conf.schema.run import RunConfig
from conf.schema.sbatch_flags import canonical

Flag = str | int | float | bool
"""Value of a flag; True is a flag without a value."""


def flags(config: RunConfig, run_id: str) -> dict[str, Flag]:
    """Every flag that stands in the batch script, by its long name without dashes.

    Where the run lies and which job it waits for are no part of it: sbatch gets those on its command line.
    """
    site, cluster = config.site, config.cluster
    asked: dict[str, Flag | None] = {
        "job-name": run_id,
        "nodes": cluster.nodes,
        "ntasks-per-node": 1,
        "time": cluster.time,
        "open-mode": "append",
        "requeue": site.requeue is not False or None,
        "no-requeue": site.requeue is False or None,
        # To the steps, without `B:`: an agent hears it on every node.
        "signal": f"USR2@{config.limits.notice}",
        "partition": site.partition,
        "account": site.account,
        "qos": site.qos,
        "constraint": site.constraint,
        "exclude": site.exclude,
        "nodelist": site.nodelist,
        "reservation": site.reservation,
        "mem": site.mem,
        "cpus-per-task": site.cpus_per_task,
        "exclusive": site.exclusive or None,
        "mail-user": site.mail,
        "mail-type": site.mail_type if site.mail else None,
        "begin": site.begin,
        "dependency": site.dependency if config.after is None else None,
    }
    further = {canonical(flag): value for flag, value in site.sbatch.items() if value is not False}
    asked |= {flag: value for flag, value in further.items() if flag != "gres"}
    asked |= devices(config, further.get("gres"))
    return {flag: value for flag, value in asked.items() if value is not None}


def devices(config: RunConfig, further_gres: Flag | None) -> dict[str, Flag | None]:
    """The request for devices in the site's manner, beside the site's other generic resources."""
    kind, count = config.gpu.type, config.cluster.devices_per_node
    request = config.site.gpu_request if kind is not None else "none"
    typed = f"{kind}:{count}" if not request.endswith("untyped") else str(count)
    if request.startswith("gpus_per_node"):
        return {"gpus-per-node": typed, "gres": further_gres}
    if request.startswith("gres"):
        return {"gres": f"gpu:{typed}" + (f",{further_gres}" if further_gres else "")}
    return {"gres": further_gres}
