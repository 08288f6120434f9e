"""Group `site`: one computing centre, and what is asked of its Slurm."""

from typing import Literal

from pydantic import Field, PositiveInt

from conf.schema.base import TIME_LIMIT, Group


class ContainerConfig(Group):
    """A container in which the trainer runs on compute nodes."""

    kind: Literal["none", "apptainer", "pyxis"] = "none"
    """none: no container. apptainer: `apptainer exec`. pyxis: srun's --container-image."""
    image: str | None = None
    """Image file or name."""
    mounts: list[str] = Field(default_factory=list)
    """Folders to mount, as `from:to`. The run folder and the store are always mounted."""


class SiteConfig(Group):
    """A site's partitions, accounts, modules, containers and network."""

    name: str = "default"
    """Name of this option."""
    partition: str | None = None
    """Partition, or several separated by commas; None is the site's default."""
    max_time: str | None = Field(None, pattern=TIME_LIMIT)
    """Longest time limit of the partition, written as cluster.time, which is checked against it. None: not known."""
    account: str | None = None
    """Account that is charged."""
    qos: str | None = None
    """Quality of service."""
    constraint: str | None = None
    """Node features, as `ib&h100`."""
    exclude: str | None = None
    """Nodes never to use, as `gpu[001-003]`."""
    nodelist: str | None = None
    """Nodes to use."""
    reservation: str | None = None
    """Reservation."""
    mem: str | None = None
    """Memory of a node as Slurm reads it (`200G`); None is the site's default, `0` all of the node."""
    cpus_per_task: PositiveInt | None = None
    """CPUs of the one task on each node, shared by all its workers; None is the site's default."""
    exclusive: bool = False
    """Whole nodes."""
    gpu_request: Literal["gres", "gres_untyped", "gpus_per_node", "gpus_per_node_untyped", "none"] = "gres"
    """How devices are asked for: `--gres=gpu:TYPE:N` or `--gpus-per-node=TYPE:N`, with or without the type, or not."""
    mail: str | None = None
    """Address that Slurm writes to."""
    mail_type: str = "END,FAIL"
    """Events that Slurm writes about, where mail is given."""
    requeue: bool | None = None
    """Whether Slurm may start the run's job again. false: an interrupted run goes on in another job of its name, a
    singleton chain. None: as `launcher doctor` has found it, and else tried."""
    begin: str | None = None
    """Earliest start, as `now+1hour` or `2030-01-31T08:00`."""
    dependency: str | None = None
    """Dependency as Slurm reads it, as `afterok:1234`. For another run use `after=RUN`."""
    sbatch: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    """Any other long flag of sbatch without its dashes, as `nice: 100`; true is a flag without a value."""
    modules: list[str] = Field(default_factory=list)
    """Environment modules loaded in the job, in order."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Variables exported in the job, as `NCCL_SOCKET_IFNAME: ib0`. Not for secrets: pass these by your shell."""
    setup: list[str] = Field(default_factory=list)
    """Shell lines run as they are before the trainer, written by whoever writes the site's file."""
    srun: list[str] = Field(default_factory=list)
    """Further arguments of srun, one string an argument."""
    container: ContainerConfig = Field(default_factory=ContainerConfig)
    """Container in which the trainer runs."""
    airgap: bool = False
    """No network at all: every run here is offline, whatever `offline` says."""
    guard: Literal["refuse", "warn", "off"] = "refuse"
    """Python code of an offline job that looks up a name or connects outside the job's nodes. refuse: it is refused,
    and told in the log with its stack and in the events. warn: it is told. off: nothing looks."""
    scratch: str | None = Field(None, pattern=r"^/[^{}]*(\{(user|job)\}[^{}]*)*$")
    """Folder on each node's own disk, as `/local/{user}`; {user} and {job} are filled in. Weights and data are copied
    there once a node, and kept for other runs. None: workers read the store."""
    python: str | None = None
    """Python on the compute nodes; None is the one that runs the launcher."""
    prepare: Literal["login", "job", "run"] = "login"
    """Where data and weights are prepared: login: here, before submission. job: in a CPU job that the run waits for.
    run: at the start of the run itself."""
