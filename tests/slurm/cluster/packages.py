"""The Debian or Ubuntu packages that the cluster needs."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from .commands import PLAIN_ENVIRONMENT, ClusterError, run

# Program -> package that has it.
PROGRAMS = {
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "srun": "slurm-client",
    "munged": "munge",
    "ip": "iproute2",
    "nft": "nftables",
    "hostname": "hostname",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "mount": "mount",
}
ACCOUNTING_PROGRAMS = {
    "slurmdbd": "slurmdbd",
    "sacctmgr": "slurm-client",
    # Only the server's programs: mariadb-server itself would bring a service that starts by itself.
    "mariadbd": "mariadb-server-core",
    "mariadb-install-db": "mariadb-server-core",
    "my_print_defaults": "mariadb-client-core",
}
POLICY = Path("/usr/sbin/policy-rc.d")


def missing(accounting: bool = True) -> list[str]:
    """Packages to be installed, sorted; empty when the cluster can be booted."""
    needed = PROGRAMS | (ACCOUNTING_PROGRAMS if accounting else {})
    path = PLAIN_ENVIRONMENT["PATH"]
    return sorted({package for program, package in needed.items() if shutil.which(program, path=path) is None})


def ensure(accounting: bool = True) -> None:
    """Install what is missing, as root on Debian or Ubuntu, and say so; ClusterError elsewhere."""
    wanted = missing(accounting)
    if not wanted:
        return
    if os.geteuid() != 0 or not is_debian():
        raise ClusterError(f"missing packages: {' '.join(wanted)} (installed only as root on Debian or Ubuntu)")
    print(f"installing for the Slurm cluster: {' '.join(wanted)}", file=sys.stderr, flush=True)
    apt_get("update")
    apt_get("install", "--yes", "--no-install-recommends", *wanted)
    if missing(accounting):
        raise ClusterError(f"still missing after apt-get install: {' '.join(missing(accounting))}")


def is_debian() -> bool:
    """Whether this is Debian, Ubuntu or a child of theirs."""
    return Path("/etc/debian_version").exists() and shutil.which("apt-get") is not None


def apt_get(*arguments: str) -> None:
    """Run apt-get such that the services of what it installs are not started.

    The programs that start services ask /usr/sbin/policy-rc.d first. Ours forbids it, and is seen only by this apt-get:
    it is mounted in a mount namespace. A crash leaves at most an empty file without execute bits; it forbids nothing.
    """
    with tempfile.TemporaryDirectory() as folder:
        policy = Path(folder) / "policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        own = not POLICY.exists()
        if own:
            POLICY.touch(mode=0o644)
        try:
            script = 'mount --bind "$1" "$2" && shift 2 && exec apt-get "$@"'
            command = ["unshare", "--mount", "sh", "-c", script, "sh", str(policy), str(POLICY), "--quiet", *arguments]
            run(command, timeout=900, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
        finally:
            if own:
                POLICY.unlink(missing_ok=True)
