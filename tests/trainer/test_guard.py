"""An offline job's agents and workers: what reaches out of its nodes is refused and told, what stays inside is not."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from conf.folder import RunFolder
from tests.trainer.agents import PATIENCE, REPOSITORY, agents, run_folder
from trainer.offline import STARTUP

pytestmark = pytest.mark.train
NOWHERE = "198.51.100.7"
"""An address that nobody has (RFC 5737)."""
REACHES = """
    import multiprocessing, socket, subprocess, urllib.request
    import torch, torch.distributed as dist
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    total = torch.ones(1)
    dist.all_reduce(total)
    names = ("DO_NOT_TRACK", "WANDB_MODE", "HF_HUB_OFFLINE")
    said = {"sum": total.item(), "switches": {name: os.environ[name] for name in names}}
    if rank == 0:
        def how(reach):
            try:
                reach()
            except OSError as error:
                return str(error)
            return "reached"
        listener = socket.create_server(("127.0.0.1", 0))
        unix = socket.socketpair()
        said["inside"] = how(lambda: socket.create_connection(("localhost", listener.getsockname()[1]), 5).close())
        said["connect"] = how(lambda: socket.create_connection(("198.51.100.7", 80), 1))
        said["name"] = how(lambda: urllib.request.urlopen("http://hub.example/api", timeout=1))
        said["packet"] = how(lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("198.51.100.8", 53)))
        for start in ("fork", "spawn"):
            child = multiprocessing.get_context(start).Process(target=socket.gethostbyname, args=(start + ".example",))
            child.start()
            child.join()
            said[start] = child.exitcode
        line = "import socket; socket.gethostbyname('program.example')"
        said["program"] = subprocess.run([sys.executable, "-c", line]).returncode
    out(folder, f"said-{rank}", json.dumps(said))
    dist.barrier()
    dist.destroy_process_group()
    finish(folder)
    return 0
"""


def offline(folder: RunFolder, guard: str) -> RunFolder:
    """The run is offline."""
    values = yaml.safe_load(folder.config_file.read_text())
    values["offline"], values["site"]["guard"] = True, guard
    folder.config_file.write_text(yaml.safe_dump(values))
    return folder


def attempts(folder: RunFolder) -> dict[str, dict[str, Any]]:
    """The attempts that were told, by the host they were for."""
    return {event["host"]: event for event in folder.events() if event["event"] == "network_attempt"}


def test_two_nodes_train_and_nothing_of_theirs_gets_out(tmp_path: Path) -> None:
    """Workers, forked and spawned children and other Python programs: the guard is in all of them."""
    folder = offline(run_folder(tmp_path / "run", REACHES, nodes=2), "refuse")
    with agents(folder, 2) as both:
        assert [agent.wait(PATIENCE) for agent in both] == [0, 0]
    first, second = (json.loads((folder.path / f"said-{rank}").read_text()) for rank in (0, 1))
    assert (first["sum"], second["sum"], first["inside"]) == (2.0, 2.0, "reached")
    assert first["switches"] == {"DO_NOT_TRACK": "1", "WANDB_MODE": "offline", "HF_HUB_OFFLINE": "1"}
    for reach in ("connect", "name", "packet"):
        assert "site.guard=refuse" in first[reach]
    assert all(first[how] not in (0, None) for how in ("fork", "spawn", "program"))
    told = attempts(folder)
    assert set(told) == {
        NOWHERE, "hub.example", "198.51.100.8", "fork.example", "spawn.example", "program.example",
    }  # fmt: skip
    assert (told[NOWHERE]["port"], told[NOWHERE]["refused"], told[NOWHERE]["node"]) == (80, True, "127.0.0.1")
    assert told[NOWHERE]["who"] == "trainer"
    log = (folder.attempt_folder(1) / "127.0.0.1.log").read_text()
    assert f"yet trainer reached for {NOWHERE} port 80 (socket.getaddrinfo): refused" in log
    assert 'said["connect"] = how' in log, "the stack shows the line that did it"


LOOKS_UP = """
    import socket
    try:
        socket.getaddrinfo("hub.example", 443)
    except socket.gaierror as error:
        out(folder, "said", "asked")
    finish(folder)
    return 0
"""


@pytest.mark.parametrize(("guard", "told"), [("warn", ["hub.example"]), ("off", [])])
def test_a_site_may_have_it_told_only_or_not_at_all(tmp_path: Path, guard: str, told: list[str]) -> None:
    folder = offline(run_folder(tmp_path / "run", LOOKS_UP), guard)
    with agents(folder) as (agent,):
        assert agent.wait(PATIENCE) == 0
    assert (folder.path / "said").read_text() == "asked"
    assert list(attempts(folder)) == told
    assert all(event["refused"] is False for event in attempts(folder).values())


def test_the_sites_own_start_module_is_carried_out_too(tmp_path: Path) -> None:
    own = tmp_path / "own"
    (tmp_path / "sitecustomize.py").write_text(f"open({str(own)!r}, 'a').write('x')\n")
    path = os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / STARTUP, tmp_path)))
    subprocess.run([sys.executable, "-c", ""], env=os.environ | {"PYTHONPATH": path}, check=True, timeout=PATIENCE)
    assert own.read_text() == "x"
