"""Rules between the cluster, the site and what is asked of Slurm."""

import re
from collections.abc import Iterator

from conf.schema.problems import did_you_mean
from conf.schema.rules.registry import Finding, rule
from conf.schema.run import RunConfig
from conf.schema.sbatch_flags import FREE, OWNED, canonical


@rule(
    "container-image",
    reads=("site.container",),
    reason="a container needs an image",
    fix="name an image, or use site.container.kind=none",
    fails="the container's program is started without an image and refuses",
)
def container_image(config: RunConfig) -> Iterator[Finding]:
    container = config.site.container
    if container.kind != "none" and not container.image:
        yield (
            "site.container.image",
            f"site.container.kind={container.kind} needs site.container.image=FILE_OR_NAME",
        )


@rule(
    "scratch-mounted",
    reads=("site.container", "site.scratch"),
    reason="a container sees the node's own disk only where it is mounted",
    fix="add the folder to site.container.mounts, or leave site.scratch out",
    fails="weights are copied into the container's own layer, which is small, often in memory, and gone with the job",
)
def scratch_mounted(config: RunConfig) -> Iterator[Finding]:
    site = config.site
    if site.container.kind == "none" or site.scratch is None:
        return
    fixed = site.scratch.partition("{")[0].rstrip("/")
    targets = [mount.split(":")[1 if ":" in mount else 0].rstrip("/") for mount in site.container.mounts]
    if not any(fixed == target or fixed.startswith(target + "/") for target in targets):
        yield (
            "site.scratch",
            f"site.scratch={site.scratch} is not in the container: add '{fixed}:{fixed}' to site.container.mounts",
        )


@rule(
    "local-nodes",
    reads=("cluster.kind", "cluster.nodes"),
    reason="this machine is one node",
    fix="use one node, or a Slurm cluster",
    fails="the agent starts the workers of one node, and they wait for the others until the rendezvous times out",
)
def local_nodes(config: RunConfig) -> Iterator[Finding]:
    if config.cluster.kind == "local" and config.cluster.nodes != 1:
        yield (
            "cluster.nodes",
            f"cluster.nodes={config.cluster.nodes} with a local cluster: use cluster.nodes=1, or a Slurm cluster such "
            "as cluster=2x8xh100",
        )


_TEXTS = (
    "partition", "account", "qos", "constraint", "exclude", "nodelist", "reservation", "mem", "mail", "mail_type",
    "begin", "dependency", "python",
)  # fmt: skip
_LISTS = ("sbatch", "environment", "modules", "srun", "container")
_WRITTEN = (*(f"site.{field}" for field in (*_TEXTS, *_LISTS)), "gpu.type")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"(TOKEN(?!IZERS)|SECRET|PASSW|API_?KEY|ACCESS_KEY|CREDENTIAL)(?!.*_(PATH|FILE|DIR)$)", re.I)
_OURS = ("PYTHONPATH", "PYTHONSAFEPATH", "SLURMWRIGHT_ATTEMPT", "SLURM_EXPORT_ENV")


@rule(
    "sbatch-flags",
    reads=("site.sbatch", "site.gpu_request"),
    reason="sbatch would refuse it, or run another job",
    fix="use the field that a flag has, or a flag that sbatch knows",
    fails="sbatch: unrecognized option; or a second value of a flag that is set already takes its place",
)
def sbatch_flags(config: RunConfig) -> Iterator[Finding]:
    for written in config.site.sbatch:
        flag = canonical(written.lstrip("-"))
        field = f"site.sbatch.{written}" if written.isprintable() else "site.sbatch"
        if flag != canonical(written):
            yield field, f"write the flag without its dashes: site.sbatch.{flag}"
        elif flag in OWNED:
            yield field, f"--{flag} is not for site.sbatch: {OWNED[flag]}"
        elif flag not in FREE:
            yield field, f"sbatch has no flag {'--' + flag!r}: {did_you_mean(flag, FREE | OWNED.keys())}".rstrip(": ")
    gres = next((str(value) for flag, value in config.site.sbatch.items() if canonical(flag) == "gres"), "")
    if any(re.match(r"(gres[:/])?gpu(:|$)", part) for part in gres.split(",")) and config.site.gpu_request != "none":
        yield (
            "site.sbatch.gres",
            f"site.sbatch.gres={gres} asks for devices that site.gpu_request={config.site.gpu_request} asks for "
            "already: leave gpu out of it, or use site.gpu_request=none",
        )


@rule(
    "one-line-values",
    reads=_WRITTEN,
    reason="a line of a batch script cannot hold a control character",
    fix="write the value as one plain line",
    fails="bash reads the rest of the value as a command of its own, or sbatch stops reading its options there",
)
def one_line_values(config: RunConfig) -> Iterator[Finding]:
    site = config.site
    values: list[tuple[str, object]] = [(f"site.{field}", getattr(site, field)) for field in _TEXTS]
    values += [("gpu.type", config.gpu.type), ("site.container.image", site.container.image)]
    values += [(f"site.sbatch.{flag}", value) for flag, value in site.sbatch.items()]
    values += [(f"site.environment.{name}", value) for name, value in site.environment.items()]
    for field, several in (("modules", site.modules), ("srun", site.srun), ("container.mounts", site.container.mounts)):
        values += [(f"site.{field}", value) for value in several]
    for field, value in values:
        if isinstance(value, str) and not value.isprintable():
            yield field, f"{value!r} holds a control character or a newline: write it as one plain line"


@rule(
    "site-environment",
    reads=("site.environment",),
    reason="the job's script is kept, and read by bash",
    fix="use names of letters, digits and underscores, and leave secrets and our own variables out",
    fails="bash: export: not a valid identifier; or the secret stands in the run folder and in scontrol show job",
)
def site_environment(config: RunConfig) -> Iterator[Finding]:
    for name in config.site.environment:
        field = f"site.environment.{name}" if name.isprintable() else "site.environment"
        if not _VARIABLE.fullmatch(name):
            yield field, f"{name!r} is no name of a variable: use letters, digits and underscores"
        elif name in _OURS:
            yield field, f"{name} is set by the launcher: leave it out"
        elif _SECRET.search(name):
            yield (
                field,
                f"{name} looks like a secret, and the script of a run is kept: export it in the shell that submits, "
                "the job inherits it",
            )
