"""Removing every trace of a cluster, whoever started it and whatever is left of it."""

import os
import shutil
from pathlib import Path

from . import procfs
from .commands import ClusterError, run, wait_until
from .layout import RECORD, Layout, default_folder, load
from .machine import marked
from .network import remove_link

# Commands of Slurm that may wait for ever for a cluster that is gone.
CLIENTS = {"srun", "sbatch", "salloc", "sattach", "sbcast", "scancel", "scontrol", "squeue", "sacct", "sacctmgr"}


def find(suffix: str, folder: Path | None = None) -> Layout | None:
    """The cluster of this suffix as far as anything is left of it: processes, the data folder or the network link."""
    alive = [Path(marks[2]) for marks in marked(suffix).values()]
    place = alive[0] if alive else folder or default_folder(suffix)
    layout = Layout(suffix, place)
    if place.is_dir() and any(place.iterdir()):
        if not (place / RECORD).exists():
            raise ClusterError(f"{place} is not empty and not the data folder of a cluster: choose another with --dir")
        layout = load(place)
        if layout.suffix != suffix:
            raise ClusterError(f"{place} belongs to the cluster {layout.suffix!r}, not {suffix!r}")
        return layout
    has_link = run(["ip", "link", "show", layout.link], timeout=10, check=False).returncode == 0
    return layout if alive or has_link or place.is_dir() else None


def tear_down(layout: Layout, timeout: float = 15) -> None:
    """Kill, unplug, delete. May be called at any time, twice at once too; ClusterError when something would not go."""
    inits = [pid for pid in marked(layout.suffix) if procfs.is_init(pid)]
    procfs.end(inits, timeout)
    # The supervisor, unless it is the one who calls, and whatever was just about to start an init.
    procfs.end([pid for pid in marked(layout.suffix) if pid != os.getpid()], timeout)
    setting = f"SLURM_CONF={layout.slurm_conf}"
    waiting = [pid for pid in procfs.pids() if procfs.name(pid) in CLIENTS and setting in procfs.environment(pid)]
    procfs.end(waiting, timeout)
    remove_link(layout)
    if layout.folder.is_dir() and (not any(layout.folder.iterdir()) or (layout.folder / RECORD).exists()):

        def removed() -> bool:
            # Twice, should another one be deleting the same folder.
            shutil.rmtree(layout.folder, ignore_errors=True)
            return not layout.folder.exists()

        wait_until(removed, timeout=timeout, what=f"{layout.folder} cannot be deleted")
