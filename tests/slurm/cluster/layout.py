"""What a cluster is made of: names, addresses, places. All of it can be read back from the data folder."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Literal

from .commands import ClusterError

ProcTrack = Literal["linuxproc", "pgid"]

NODES = ("n1", "n2", "n3", "n4")
GPUS_PER_NODE = 8
CPUS_PER_NODE = 16
MEMORY_PER_NODE = 256_000  # MB, declared only: nothing enforces it
ACCOUNT = "research"

RECORD = "cluster.json"


@dataclasses.dataclass(frozen=True)
class Layout:
    """One cluster, by its suffix: what tells it from another one on the same machine."""

    suffix: str
    folder: Path
    proctrack: ProcTrack = "linuxproc"
    accounting: bool = True
    more: str = ""
    """Further lines of slurm.conf."""
    subnet: str = ""
    """First three numbers of its /24 network; empty until a free one was claimed."""

    def __post_init__(self) -> None:
        if not re.fullmatch("[a-z0-9]{1,6}", self.suffix):
            raise ClusterError(f"suffix {self.suffix!r}: one to six of a-z and 0-9")

    def address(self, host: str) -> str:
        """Address of head, login or a node."""
        last = {"head": 1, "login": 254} | {name: 10 + number for number, name in enumerate(NODES, start=1)}
        return f"{self.subnet}.{last[host]}"

    @property
    def link(self) -> str:
        """The one network device that the cluster has in the main network namespace (15 characters at most)."""
        return f"slw-{self.suffix}"

    @property
    def slurm_conf(self) -> Path:
        return self.folder / "slurm.conf"

    @property
    def munge_socket(self) -> Path:
        return self.folder / "munge" / "socket"

    def log(self, name: str) -> Path:
        """Log file of a daemon, such as slurmctld or slurmd.n1."""
        return self.folder / "log" / f"{name}.log"

    def save(self) -> None:
        """Write the record that marks the folder as a cluster's: nothing else is ever deleted by `down`."""
        record = dataclasses.asdict(self) | {"folder": str(self.folder)}
        (self.folder / RECORD).write_text(json.dumps(record, indent=1) + "\n")


def default_folder(suffix: str) -> Path:
    """Data folder of a cluster unless told otherwise; short, since a socket's path has 107 characters at most."""
    return Path("/tmp") / f"slurmwright-{suffix}"


def load(folder: Path) -> Layout:
    """Layout of the cluster whose data folder this is; ClusterError when there is none."""
    try:
        record = json.loads((folder / RECORD).read_text())
    except FileNotFoundError:
        raise ClusterError(f"no cluster in {folder}") from None
    return Layout(**(record | {"folder": Path(record["folder"])}))
