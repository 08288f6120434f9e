"""Tests on a real Slurm: one private cluster a session, booted when the first test asks for it.

Under pytest-xdist each worker boots a cluster of its own: while one waits for Slurm, the other computes.
"""

import os
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster
from tests.slurm.cluster.packages import is_debian

HERE = Path(__file__).parent
LEFT_OUT = pytest.StashKey[str]()


def why_not() -> str | None:
    """Why Slurm tests cannot or must not run here; None when they can."""
    if os.environ.get("SLURM") == "0":
        return "SLURM=0"
    if os.geteuid() != 0:
        return "this is not root, and a private Slurm cluster needs network namespaces"
    if not is_debian():
        return "this is neither Debian nor Ubuntu, whose Slurm packages the cluster is built from"
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests of this folder, or leave them out where they cannot run."""
    mine = [item for item in items if HERE in item.path.parents]
    reason = why_not()
    if reason is None:
        for item in mine:
            item.add_marker("slurm")
    elif mine:
        items[:] = [item for item in items if item not in mine]
        config.hook.pytest_deselected(items=mine)
        config.stash[LEFT_OUT] = f"{len(mine)} SLURM TESTS LEFT OUT: {reason}"
        if os.environ.get("PYTEST_XDIST_WORKER") == "gw0":
            # The summary is written by another process; a warning gets there.
            config.issue_config_time_warning(pytest.PytestWarning(config.stash[LEFT_OUT]), stacklevel=2)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say once, loudly, that tests were left out."""
    if LEFT_OUT in config.stash:
        terminalreporter.write_line(config.stash[LEFT_OUT], red=True, bold=True)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The session's cluster; it goes with this process, however that ends."""
    booted = Cluster.boot(suffix(os.getpid()), owner=os.getpid())
    yield booted
    booted.down()


def suffix(pid: int) -> str:
    """A cluster's name of its own for each process: the process id in base 36, six characters at most."""
    text = ""
    while pid:
        pid, digit = divmod(pid, 36)
        text = (string.digits + string.ascii_lowercase)[digit] + text
    return f"t{text}"


@pytest.fixture(scope="session")
def smollm2_store() -> Path:
    """A store that holds SmolLM2 converted; kept between sessions, since fetching and converting takes a minute."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("SLURMWRIGHT_TEST_STORE") or cache / "slurmwright-tests")
