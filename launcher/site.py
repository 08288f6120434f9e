"""What this site is: the probe's answers, kept for a day in the user's cache folder: a site changes rarely, and every
question costs its controller work. Limits are a user's own, so the store, which people share, is no place for them."""

import hashlib
import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import TypeAdapter

from conf.folder import write_whole
from launcher.slurm.command import available
from launcher.slurm.facts import SiteFacts
from launcher.slurm.probe import PROGRAMS, probe

KEPT = timedelta(days=1)
"""How long an answer is good."""
KEPT_INCOMPLETE = timedelta(minutes=10)
"""How long, where something did not answer that may do so again."""
FORMAT = 1
"""Of the file; one of another number is asked anew."""
CONF_FILES = (
    "/etc/slurm/slurm.conf", "/etc/slurm-llnl/slurm.conf", "/run/slurm/conf/slurm.conf", "/usr/local/etc/slurm.conf",
)  # fmt: skip
"""Where slurm.conf lies unless SLURM_CONF says."""
_FACTS = TypeAdapter(SiteFacts)


def site_facts(fresh: bool = False) -> SiteFacts:
    """What is known of this site's Slurm: of today, or asked now; with `fresh` always asked.

    Raises SiteError where this machine has no Slurm, or its controller does not answer."""
    known = None if fresh else recall()
    return known or remember(probe())


def with_trial(facts: SiteFacts, requeue: bool | None) -> SiteFacts:
    """The facts with what a trial job showed of requeues, kept as long as they are."""
    return facts if requeue is None else remember(replace(facts, requeue_tried=requeue))


def remember(facts: SiteFacts) -> SiteFacts:
    """Keep facts for the next command. A folder that cannot be written to only means that they are asked again."""
    path = cache_file()
    text = json.dumps({"format": FORMAT, "facts": _FACTS.dump_python(facts, mode="json")}, indent=1)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(path, text, 0o600)
    except OSError:
        pass
    return facts


def recall() -> SiteFacts | None:
    """The facts that are kept, where they are whole, still good, and of the programs that are here now."""
    try:
        document = json.loads(cache_file().read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            return None
        facts = _FACTS.validate_python(document["facts"])
        asked = datetime.fromisoformat(facts.asked)
        age = datetime.now(UTC) - asked
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if not timedelta(0) <= age < (KEPT if facts.complete else KEPT_INCOMPLETE):
        return None
    if facts.programs != {program: available(program) for program in PROGRAMS}:
        return None
    return facts if asked.timestamp() >= _changed() else None


def cache_file() -> Path:
    """Where the facts of the present site are kept. It bears the cluster's name where slurm.conf can be read, and a
    digest of what tells sites apart."""
    conf = slurm_conf()
    says = _said(conf)
    # A path alone would do for one machine; home folders are shared between clusters.
    key = [os.environ.get("SLURM_CLUSTERS", ""), *(says or [str(conf)])]
    digest = hashlib.sha256("\n".join(key).encode()).hexdigest()[:8]
    name = says[0].rpartition("=")[2].strip() if says else "slurm"
    return user_cache() / "sites" / f"{_plain(name)}-{digest}.json"


def user_cache() -> Path:
    """Where this user's programs keep what can be had again; the store lies there, too, unless somebody says where."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slurmwright"


def slurm_conf() -> Path | None:
    """The slurm.conf of this machine; None where there is none to be seen (it may come from the controller)."""
    given = os.environ.get("SLURM_CONF")
    if given:
        return Path(given)
    return next((Path(path) for path in CONF_FILES if os.path.isfile(path)), None)


def _said(conf: Path | None) -> list[str]:
    """The lines of slurm.conf that name the cluster, first its name, then its controllers; [] where it is not read."""
    try:
        lines = conf.read_text(encoding="utf-8", errors="replace").splitlines() if conf else []
    except OSError:
        return []
    named = [line.strip() for line in lines if line.strip().lower().startswith("clustername")]
    hosts = [line.strip() for line in lines if line.strip().lower().startswith("slurmctldhost")]
    return [named[-1], *hosts] if named else []


def _changed() -> float:
    """When slurm.conf was last written, in seconds of the epoch; 0 where that cannot be seen."""
    conf = slurm_conf()
    try:
        return conf.stat().st_mtime if conf else 0.0
    except OSError:
        return 0.0


def _plain(name: str) -> str:
    return "".join(char for char in name if char.isascii() and (char.isalnum() or char in "-_")) or "slurm"
