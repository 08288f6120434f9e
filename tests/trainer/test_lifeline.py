"""Processes die with the one that they work for."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.trainer.agents import REPOSITORY, alive, until

PARENT = """
import os, subprocess, sys
os.environ["SLURMWRIGHT_AGENT_PID"] = str(os.getpid())
child = subprocess.Popen([sys.executable, "-c", {child!r}], start_new_session=True)
child.wait()
"""
CHILD = """
import multiprocessing, os, time
from trainer.lifeline import follow_agent
follow_agent()
loader = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
loader.start()
open("pids.tmp", "w").write(f"{os.getpid()} {loader.pid}")
os.rename("pids.tmp", "pids")
time.sleep(600)
"""


def test_a_killed_parent_takes_child_and_grandchild_along(tmp_path: Path) -> None:
    environ = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT.format(child=CHILD)], cwd=tmp_path, env=environ)
    pids = []
    try:
        until((tmp_path / "pids").exists, "child and grandchild run")
        pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
        assert all(alive(pid) for pid in pids)
        parent.kill()
        until(lambda: not any(alive(pid) for pid in pids), "child and grandchild are gone")
    finally:
        parent.kill()
        parent.wait(60)
        for pid in filter(alive, pids):
            os.kill(pid, signal.SIGKILL)


ORPHANS = """
import subprocess
from trainer import lifeline
lifeline.adopt_orphans()
subprocess.run(["sh", "-c", "setsid sleep 600 & setsid sleep 600 &"], check=True)
lifeline_pids = lifeline.descendants(__import__("os").getpid())
print(*lifeline_pids, flush=True)
assert lifeline.end_descendants() == []
"""


def test_orphans_in_sessions_of_their_own_are_found_and_ended(tmp_path: Path) -> None:
    environ = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", ORPHANS]
    done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) == 2
    assert not any(alive(pid) for pid in pids)
