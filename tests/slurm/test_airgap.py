"""Staged once from a hub that is gone: runs of two nodes send no packet to anything but the nodes, by the counters of
the nodes' own kernels."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeps.folder import SweepFolder, run_of
from tests.hub.repository import Repository
from tests.hub.server import serving
from tests.slurm.cluster import Cluster
from tests.slurm.launching import Login, completed, wait_for_end, wait_for_event
from tests.slurm.wire import Wire, counting
from tests.tiny import tiny_llama, tiny_rows

NODES = ("n1", "n2")
NOWHERE = "198.51.100.7"
"""An address that nobody has (RFC 5737)."""
WORDS = (
    "+model=hf", "model.id=org/tiny", "data=hub", "data.path=org/rows", "data.max_length=64", "adapter.r=4",
    "offline=true",
)  # fmt: skip
TWO_NODES = ("cluster.nodes=2", "batch.micro=2", "site.nodelist='n[1-2]'", "method.max_steps=80")


@pytest.fixture(scope="module")
def login(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Login:
    """A person at the login node who has staged a model and rows; the hub they came from is down."""
    home = tmp_path_factory.mktemp("airgap")
    login = Login(cluster, home, home / "store")
    login.environment["HF_HOME"] = str(home / "hf")
    with serving() as hub:
        hub.add("org/tiny", Repository.of_folder(tiny_llama(home / "tiny")))
        hub.add("org/rows", Repository({"train.jsonl": tiny_rows(home / "rows", 60).read_bytes()}, kind="datasets"))
        login.environment["HF_ENDPOINT"] = hub.url
        login.launcher("stage", *(word for word in WORDS if word != "offline=true"))
    return login


@pytest.fixture(scope="module")
def wire(cluster: Cluster) -> Iterator[Wire]:
    """Counters on both nodes."""
    with counting(cluster, NODES) as found:
        yield found


def test_a_run_and_its_resumption_send_nothing_out(login: Login, cluster: Cluster, wire: Wire) -> None:
    before = {node: (wire.outside(node), wire.inside(node)) for node in NODES}
    folder = login.submit(*WORDS, *TWO_NODES, "name=airgap")
    wait_for_event(folder, "step")
    login.launcher("stop", folder.id)
    assert wait_for_end(folder)["status"] == "stopped"
    login.launcher("resume", folder.id)  # at once: its agents are still about to leave
    result = completed(folder)
    assert result["step"] == 80
    resumed = [line for line in folder.events() if line["event"] == "resumed"]
    assert [line["attempt"] for line in resumed] == [2]
    assert "network_attempt" not in {line["event"] for line in folder.events()}
    assert {path.stem for path in folder.attempt_folder(2).glob("*.log")} == set(NODES)
    for node in NODES:
        assert wire.outside(node) == before[node][0], f"{node} sent to {wire.places(node)}"
        assert wire.inside(node) > before[node][1] + 100, "the nodes have trained without speaking to each other"


def test_a_sweep_that_reads_from_scratch_disks_sends_nothing_out(
    login: Login, cluster: Cluster, wire: Wire, tmp_path: Path
) -> None:
    """Two trials at once read from one copy on a scratch disk, which they race to make."""
    cluster.settle()
    before = {node: wire.outside(node) for node in NODES}
    words = [word for word in WORDS if not word.startswith("adapter.")]
    sweep = SweepFolder(login.launcher(
        "+cluster=sandbox", "-m", *words, "cluster.devices_per_node=2", "site.exclude='n[3-4]'", "method.max_steps=20",
        f"site.scratch={tmp_path}/scratch", "sweep.name=airgap-sweep", "adapter.r=4,8",
    )["folder"])  # fmt: skip
    brought = []
    for folder in [run_of(sweep, trial) for trial in sweep.trials()]:
        assert completed(folder)["step"] == 20
        assert "network_attempt" not in {line["event"] for line in folder.events()}
        brought += [line for line in folder.events() if line["event"] == "scratch"]
    assert [(sorted(line["paths"]), line["why"]) for line in brought] == [(["data", "model"], None)] * 2
    assert len(list((tmp_path / "scratch").glob("slurmwright-*/[0-9a-f]*"))) == 2
    for node in NODES:
        assert wire.outside(node) == before[node], f"{node} sent to {wire.places(node)}"


def test_a_child_that_tries_to_get_out_is_counted(cluster: Cluster, wire: Wire, tmp_path: Path) -> None:
    before = wire.outside("n1")
    lines = f"curl --max-time 1 http://{NOWHERE}/\ntimeout 1 bash -c 'echo > /dev/tcp/{NOWHERE}/80'\ntrue"
    cluster.sbatch(lines, "--nodelist=n1", "--wait", cwd=tmp_path)
    assert wire.outside("n1") >= before + 2


def test_nothing_is_submitted_with_a_file_removed(login: Login, cluster: Cluster) -> None:
    weights = next((login.folder / "store").glob("models/*/model.safetensors"))
    kept = weights.rename(weights.with_name("kept"))
    try:
        answer = login.launcher("+cluster=sandbox", *WORDS, *TWO_NODES, "name=refused", expect=5)
    finally:
        kept.rename(weights)
    assert f"{weights} is missing" in answer["error"]
    assert "launcher stage" in answer["error"]
    assert not (login.folder / "runs" / "refused").exists()
    assert "refused" not in cluster.run(["squeue", "--noheader", "--format=%j"]).stdout
