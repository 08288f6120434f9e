"""What differs on a compute node: a small command on one of them, and a job that is submitted, seen, and never run.

Nothing is left behind: what was asked for is cancelled by its name, however the asking ends."""

import getpass
import os
import secrets
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from launcher.environment import for_submission
from launcher.errors import SiteError
from launcher.report import say
from launcher.slurm import reach
from launcher.slurm.command import NoAnswer, call
from launcher.slurm.reading import read_number, read_words
from launcher.slurm.sbatch import read_job_id

SLACK = 30.0
"""Seconds beyond the wait in the queue within which the command must have answered."""
TIMEOUT = 20.0
"""Seconds for any other call."""
GONE = 15.0
"""Seconds in which a cancelled request must have left the queue."""
_PREFIX = "slurmwright-doctor-"

# Plain sh, since a Python is one of the things that may be missing there. Paths come as arguments.
_SCRIPT = r"""
say() { printf '%s=%s\n' "$1" "$2"; }
place() {
  [ -e "$2" ] && say "$1_seen" yes || say "$1_seen" no
  if (: > "$2.node") 2>/dev/null; then rm -f "$2.node"; say "$1_writable" yes; else say "$1_writable" no; fi
}
reach() {
  # A refusal is an answer, too: the machine is there.
  said=$(LC_ALL=C timeout "$wait" bash -c ': <> "/dev/tcp/$0/$1"' "$2" "$3" 2>&1)
  code=$?
  case "$code:$said" in
    0:* | *refused*) say reach "$1 yes" ;;
    127:*) ;;
    *) say reach "$1 no" ;;
  esac
}
say host "$(uname -n)"
say clock "$(date +%s)"
say python "$("$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null | tail -n 1)"
place run_root "$2"
place store "$3"
say scontrol "$(command -v scontrol)"
say shm "$(df -Pk /dev/shm 2>/dev/null | { read -r _; read -r _ size _; echo "$size"; })"
while read -r device target _; do [ "$target" = 00000000 ] && say route "$device"; done < /proc/net/route
while read -r target bits _ _ _ _ _ _ _ device; do
  [ "$bits" = 00 ] && [ "$target" = 00000000000000000000000000000000 ] && [ "$device" != lo ] && say route "$device"
done < /proc/net/ipv6_route
wait=$4
shift 4
while [ $# -ge 3 ]; do reach "$1" "$2" "$3"; shift 3; done
say done yes
""".strip()


@dataclass(frozen=True)
class Place:
    """A folder as a compute node sees it."""

    path: str
    """The folder, or the nearest one above it that exists."""
    shared: bool
    """Whether the node sees what this machine wrote there."""
    writable: bool
    """Whether the node can write there."""


@dataclass(frozen=True)
class NodeFacts:
    """What one compute node said."""

    host: str
    python: str
    """The Python that was tried, as runs would start it."""
    python_version: str | None
    """None where it does not start there."""
    run_root: Place
    store: Place
    scontrol: str | None
    """Path of scontrol there; None where there is none."""
    shm_gib: float | None
    """Size of /dev/shm in GiB (2**30 bytes)."""
    routes: tuple[str, ...]
    """Network devices with a default route; () means that nothing outside can be reached."""
    clock_ahead_seconds: int
    """The least that its clock must be ahead of this machine's (negative: behind) to have said what it did."""
    clock_window_seconds: int
    """How long the request took: less than this cannot be told apart from waiting."""
    reaches: Mapping[str, bool] = field(default_factory=dict)
    """Whether something answers there, by the names of reach.NAMES; what could not be tried is left out."""


@dataclass(frozen=True)
class Wanted:
    """What is tried on a node."""

    run_root: Path
    store: Path
    python: str = sys.executable
    site: Mapping[str, str] | None = None
    """Flags of srun and sbatch that choose where: partition, account, qos, ..."""
    wait: float = 60.0
    """Seconds in the queue."""

    @property
    def flags(self) -> list[str]:
        """The site's flags as words."""
        return [f"--{name}={value}" for name, value in (self.site or {}).items()]


def ask_node(wanted: Wanted) -> NodeFacts:
    """Run the command on the first node that Slurm gives, and read what it says.

    Raises SiteError where the queue does not start it in time, or Slurm refuses; the request is then cancelled."""
    name = _PREFIX + secrets.token_hex(4)
    places = [nearest(wanted.run_root), nearest(wanted.store)]
    markers = [place / f".{name}-{number}" for number, place in enumerate(places)]
    command = [
        "srun", "--nodes=1", "--ntasks=1", "--time=2", f"--job-name={name}",
        f"--immediate={max(round(wanted.wait), 2)}", "--mpi=none", "--input=none", "--chdir=/", *wanted.flags,
        "/bin/sh", "-c", _SCRIPT, "sh", wanted.python, *map(str, markers), str(reach.TIMEOUT),
        *(str(part) for target in reach.targets() for part in target),
    ]  # fmt: skip
    begun = time.time()
    try:
        for marker in markers:
            _touch(marker)
        said = call(command, wanted.wait + SLACK, for_submission(wanted.site or {}))
    except SiteError as error:
        raise SiteError(_why(error, wanted, cancel_all(name))) from None
    except BaseException:
        cancel_all(name)
        raise
    finally:
        for marker in markers:
            marker.unlink(missing_ok=True)
    return read_node(said, wanted.python, [str(place) for place in places], begun, time.time())


def try_requeue(wanted: Wanted) -> bool | None:
    """Whether the site lets a job be requeued that asks for it: one is submitted on hold, looked at and cancelled.

    None where Slurm does not take such a job, or does not say."""
    name = _PREFIX + secrets.token_hex(4)
    command = [
        "sbatch", "--parsable", "--hold", "--requeue", "--nodes=1", "--ntasks=1", "--time=2", f"--job-name={name}",
        "--output=/dev/null", "--chdir=/", *wanted.flags, "--wrap=true",
    ]  # fmt: skip
    asked = {*(wanted.site or {}), "hold", "requeue", "nodes", "ntasks", "job-name", "time", "wrap"}
    try:
        job_id = read_job_id(call(command, TIMEOUT, for_submission(asked)))
        shown = read_words(call(["scontrol", "--oneliner", "show", "job", job_id], TIMEOUT))
    except SiteError:
        return None
    finally:
        left = cancel_all(name)
        if left:
            say(left)
    return {"0": False, "1": True}.get(shown.get("Requeue", ""))


def cancel_all(name: str) -> str | None:
    """Cancel every job of a name; what to tell people where one may be left, else None."""
    queue = ["squeue", "--me", "--noheader", "--format=%i", f"--name={name}"]
    deadline = time.monotonic() + GONE
    try:
        while left := call(queue, TIMEOUT).split():
            call(["scancel", f"--user={getpass.getuser()}", f"--name={name}"], TIMEOUT)
            if time.monotonic() > deadline:
                return f"job {left[0]} ({name}) is still in the queue: type `scancel {left[0]}`"
            time.sleep(0.5)
    except SiteError as error:
        return f"whether job {name} is gone cannot be seen ({error.message}): look with `squeue --me`"
    return None


def nearest(path: Path) -> Path:
    """A folder, or the nearest one above it that exists: run roots and stores are made when they are first used."""
    place = path.expanduser().absolute()
    while not place.is_dir() and place != place.parent:
        place = place.parent
    return place


def _touch(marker: Path) -> None:
    # Where this machine may not write a node may: the marker is then not seen there, and that is said.
    try:
        os.close(os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError:
        pass


def read_node(text: str, python: str, places: list[str], begun: float, ended: float) -> NodeFacts:
    """What the command printed on the node, between two times of this machine.

    Raises SiteError where it did not come to its end."""
    pairs = [line.partition("=")[::2] for line in text.splitlines()]
    said = {name: value.strip() for name, value in pairs}
    if said.get("done") != "yes":
        raise SiteError(f"the command on the compute node ended before its time; it said {text.strip()[-300:]!r}")
    clock, shm = read_number(said.get("clock")), read_number(said.get("shm"))
    seen = [
        Place(place, said.get(f"{name}_seen") == "yes", said.get(f"{name}_writable") == "yes")
        for name, place in zip(("run_root", "store"), places, strict=True)
    ]
    return NodeFacts(
        host=said.get("host", ""),
        python=python,
        python_version=said.get("python") or None,
        run_root=seen[0],
        store=seen[1],
        scontrol=said.get("scontrol") or None,
        shm_gib=None if shm is None else round(shm / 2**20, 1),
        routes=tuple(dict.fromkeys(value for name, value in pairs if name == "route")),
        clock_ahead_seconds=0 if clock is None else _ahead(clock, begun, ended),
        clock_window_seconds=round(ended - begun) + 1,
        reaches={
            words[0]: words[1] == "yes" for name, value in pairs if name == "reach" and len(words := value.split()) == 2
        },
    )


def _ahead(clock: int, begun: float, ended: float) -> int:
    """Seconds by which a clock is outside of the time in which it was read; it was read in whole seconds."""
    return max(clock - int(ended), 0) or min(clock - int(begun), 0)


def _why(error: SiteError, wanted: Wanted, left: str | None) -> str:
    waited = isinstance(error, NoAnswer) or "busy" in error.message or "immediate" in error.message.lower()
    words = (
        f"no compute node answered within {wanted.wait:g} s ({error.message}): the queue is long, or the partition is "
        "down. Type --timeout=600, or choose another by --partition"
        if waited
        else f"a compute node could not be asked: {error.message}. --partition, --account and --qos choose where"
    )
    return f"{words}. {left or 'The request is cancelled'}"
