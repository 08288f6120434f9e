"""No questions to name servers from an offline job, native code included.

torch's sockets look up the name of every address that connects, for a log line that is hardly ever written. The C
library finds none of them in the hosts file (they are IPv4 addresses in IPv6 form) and asks the name server. With
RES_OPTIONS its resolver makes no attempt; that counts for this process and its children from before the first look-up
on.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger(__name__)
HOSTS = Path("/etc/hosts")
NO_ATTEMPT = "attempts:0"


def ask_nobody(nodes: Sequence[str], hosts: Path = HOSTS) -> bool:
    """Let nothing in this process and its children ask a name server, where the job's nodes find each other without:
    all stand in the hosts file, or there is one. Says so where they cannot. Gives whether it is so."""
    if len(nodes) > 1 and not set(nodes) <= _known(hosts):
        log.warning(
            "offline=true, but the names of this job's nodes stand in no %s: the nodes ask a name server to find each "
            "other, and those packets leave the job's nodes", hosts,
        )  # fmt: skip
        return False
    given = os.environ.get("RES_OPTIONS", "")
    if NO_ATTEMPT not in given.split():
        os.environ["RES_OPTIONS"] = f"{given} {NO_ATTEMPT}".strip()
    return True


def _known(hosts: Path) -> set[str]:
    try:
        lines = hosts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    return {name for line in lines for name in line.partition("#")[0].split()[1:]}
