"""The verb `doctor`: what it says, what it keeps, and that asking a compute node leaves nothing behind."""

import json
import os
import socket
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from launcher.cli import main
from launcher.doctor import on_node
from launcher.errors import SiteError
from launcher.meaning import meanings
from launcher.site import cache_file, site_facts
from launcher.slurm import from_node
from launcher.slurm.facts import Partition, SiteFacts
from tests.launcher.sites import CONFIG, PARTITIONS, Site

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.chdir(tmp_path)
    return Site(tmp_path / "site", monkeypatch)


def doctor(capsys: Capture, *words: str, expect: int = 0) -> dict[str, Any]:
    assert main(["doctor", *words, "--json"]) == expect
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def said(facts: SiteFacts, about: str) -> str:
    return "\n".join(meaning.message for meaning in meanings(facts) if meaning.about == about)


def test_the_page_for_people(site: Site, capsys: Capture) -> None:
    assert main(["doctor"]) == 0
    page = capsys.readouterr().out
    assert page.startswith("Slurm 22.05.8, cluster alps")
    assert "partition low     default, up to 7-00:00:00, 4 nodes (1 down, 3 idle), gpu:h100:8" in page
    assert "partition high    no time limit" in page
    assert "arrays of up to 1001 tasks: larger sweeps are split" in page
    assert (
        "partition low: a run preempted by a job of high gets 20 s (GraceTime) from SIGTERM: it saves and asks" in page
    )
    assert "partition high: runs are not preempted" in page
    assert "requeue is allowed: a run that is interrupted goes on as the same job, eligible again 6 s after" in page
    assert "you may have 500 jobs queued and running at once" in page
    assert "last 28 days      1 of your jobs lost a node in 5.5 node-hours" in page
    assert "has 30 s from SIGTERM to SIGKILL (KillWait)" in page


def test_the_document_for_programs(site: Site, capsys: Capture) -> None:
    document = doctor(capsys)
    assert (document["site"]["version"], document["requeue"], document["node"]) == ("22.05.8", True, None)
    assert document["site"]["partitions"][0]["grace_seconds"] == 20
    assert {"requeue", "preemption", "arrays", "accounting"} <= {each["about"] for each in document["means"]}


def test_what_cannot_be_had_is_null_with_a_reason(site: Site, capsys: Capture) -> None:
    site.without("scontrol")
    document = doctor(capsys)
    assert document["site"]["kill_wait_seconds"] is None
    assert document["site"]["unknown"]["kill_wait_seconds"] == "there is no scontrol on the PATH"
    assert main(["doctor"]) == 0
    page = capsys.readouterr().out
    assert "KillWait          not known: there is no scontrol on the PATH" in page
    assert "accounting        yes, and it answers" in page


def test_no_slurm_is_one_sentence_and_a_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["doctor", "--json"]) == 3
    out = capsys.readouterr()
    assert json.loads(out.out)["exit_code"] == 3
    assert "no Slurm on this machine" in json.loads(out.out)["error"]
    assert out.err.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "about", "words"),
    [
        ({"job_requeue": True, "requeue_tried": False}, "requeue", "forbidden here: runs go on by a singleton chain"),
        ({"job_requeue": False}, "requeue", "only where they ask for it (JobRequeue=0). Runs ask"),
        ({"job_requeue": True}, "requeue", "eligible again 0:02:01 after"),
        ({"job_requeue": True, "submit_plugins": ("lua",)}, "requeue", "by `python -m launcher doctor --from-node`"),
        ({"max_array_size": 5}, "arrays", "arrays of up to 5 tasks"),
        ({"max_array_size": 0}, "arrays", "each trial of a sweep is a job of its own"),
        ({"accounting": False, "min_job_age_seconds": 300}, "accounting", "folder is the only record after 0:05:00"),
        ({"accounting": True, "accounting_answers": False}, "accounting", "does not answer"),
        ({"version": "21.08.8"}, "version", "older than 22.05"),
        ({"proctrack": "pgid"}, "signals", "data-loading processes too"),
        ({"programs": {"squeue": False}}, "programs", "no squeue here"),
    ],
)  # fmt: skip
def test_what_facts_mean(changes: dict[str, Any], about: str, words: str) -> None:
    assert words in said(SiteFacts(**{"asked": "", "programs": {}} | changes), about)


@pytest.mark.parametrize(
    ("mode", "grace", "more", "words"),
    [
        ("REQUEUE", 20, {}, "gets 20 s (GraceTime) from SIGTERM: it saves and asks for its requeue."),
        ("REQUEUE", 20, {"user_signal": True}, "gets 20 s (GraceTime) from its own --signal"),
        ("REQUEUE", 0, {}, "gets 30 s (KillWait; there is no GraceTime) from SIGTERM"),
        ("CANCEL", 60, {}, "asks for its requeue before the site cancels it"),
        ("SUSPEND,GANG", 0, {}, "may be suspended by a job of high, and goes on by itself"),
        ("REQUEUE", 20, {"requeue_tried": False}, "it saves and leaves; the next job of its chain goes on"),
        ("REQUEUE", 20, {"preempt_exempt_seconds": 3600}, "safe from that for its first 1:00:00"),
        ("OFF", 20, {}, "partition low, high: runs are not preempted"),
    ],
)
def test_what_a_preemption_means(mode: str, grace: int, more: dict[str, Any], words: str) -> None:
    low = Partition("low", True, True, None, None, 1, {}, (), mode, grace, 1)
    high = Partition("high", False, True, None, None, 1, {}, (), "OFF", 0, 2)
    values: dict[str, Any] = {
        "preempt_type": "preempt/partition_prio",
        "job_requeue": True,
        "kill_wait_seconds": 30,
    } | more
    assert words in said(SiteFacts("", {}, partitions=(low, high), **values), "preemption")


def test_facts_are_kept_for_a_day(site: Site, capsys: Capture) -> None:
    first = doctor(capsys)
    asked = len(site.calls())
    assert doctor(capsys) == first
    assert site_facts().asked == first["site"]["asked"]
    assert len(site.calls()) == asked
    assert cache_file().stat().st_mode & 0o777 == 0o600
    assert cache_file().name.startswith("alps-")


def _damage(text: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.write_text(text)

    return damage


def _truncate(path: Path) -> None:
    path.write_text(path.read_text()[:-40])


def _age(hours: float, **more: Any) -> Callable[[Path], None]:
    def age(path: Path) -> None:
        document = json.loads(path.read_text())
        document["facts"] |= {"asked": (datetime.now(UTC) - timedelta(hours=hours)).isoformat(), **more}
        path.write_text(json.dumps(document))

    return age


def _other_format(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 0}))


@pytest.mark.parametrize(
    "spoil",
    [
        _damage(""), _damage("[]"), _damage("null"), _damage('{"format": 1, "facts": {"asked": 3}}'), _truncate,
        _other_format, _age(25), _age(-1), _age(0.5, complete=False), _age(0, asked="yesterday"),
        _age(0, asked="2026-01-01T00:00:00"),
    ],
)  # fmt: skip
def test_what_is_kept_is_asked_again_when_it_is_no_good(site: Site, spoil: Callable[[Path], None]) -> None:
    site_facts()
    spoil(cache_file())
    asked = len(site.calls())
    assert site_facts().cluster == "alps"
    assert len(site.calls()) > asked


def test_what_is_nearly_a_day_old_is_good(site: Site) -> None:
    site_facts()
    _age(23)(cache_file())
    asked = len(site.calls())
    site_facts()
    assert len(site.calls()) == asked


def test_fresh_asks_again(site: Site, capsys: Capture) -> None:
    doctor(capsys)
    site.answer("scontrol", ["config"], CONFIG.replace("1001", "77"))
    assert doctor(capsys)["site"]["max_array_size"] == 1001
    assert doctor(capsys, "--fresh")["site"]["max_array_size"] == 77
    assert doctor(capsys)["site"]["max_array_size"] == 77


def test_a_changed_slurm_conf_or_path_is_another_site(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    first = site_facts()
    later = time.time() + 5
    os.utime(site.folder / "slurm.conf", (later, later))
    second = site_facts()
    assert second.asked != first.asked
    os.utime(site.folder / "slurm.conf", (0, 0))
    site.without("sacctmgr")
    assert site_facts().programs["sacctmgr"] is False
    before = cache_file()
    (site.folder / "slurm.conf").write_text("clustername = fells\n# ClusterName=x\nSlurmctldHost=head\n")
    assert cache_file() != before and cache_file().name.startswith("fells-")
    monkeypatch.setenv("SLURM_CONF", str(site.folder / "nowhere"))
    assert cache_file().name.startswith("slurm-")


def test_a_cache_that_cannot_be_written_is_no_hindrance(site: Site) -> None:
    cache = Path(os.environ["XDG_CACHE_HOME"])
    cache.write_text("a file where a folder should be")
    assert site_facts().cluster == "alps"


def test_a_compute_node_is_asked(site: Site, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "runs").mkdir()
    words = ["site.partition=low", "--account=research", f"store.root={tmp_path / 'no' / 'store'}", "run.root=runs"]
    document = doctor(capsys, "--from-node", *words)
    node = document["node"]
    assert (node["host"], node["python"], node["clock_ahead_seconds"]) == (os.uname().nodename, sys.executable, 0)
    assert node["python_version"] == ".".join(map(str, sys.version_info[:3]))
    assert node["run_root"] == {"path": str(tmp_path / "runs"), "shared": True, "writable": True}
    assert node["store"] == {"path": str(tmp_path), "shared": True, "writable": True}
    assert node["scontrol"] == str(site.folder / "scontrol")
    assert node["shm_gib"] is None or node["shm_gib"] > 0
    assert node["routes"] == _default_routes()
    (srun,) = site.calls("srun")
    assert {"--partition=low", "--account=research", "--immediate=60", "--nodes=1"} <= set(srun)
    assert not list(tmp_path.rglob(".slurmwright-*"))
    assert "run.root" in "\n".join(document["node_means"])


def _default_routes() -> list[str]:
    rows = [line.split() for line in Path("/proc/net/route").read_text().splitlines()]
    found = [row[0] for row in rows if row[1] == "00000000"]
    rows = [line.split() for line in Path("/proc/net/ipv6_route").read_text().splitlines()]
    found += [row[9] for row in rows if row[0] == "0" * 32 and row[1] == "00" and row[9] != "lo"]
    return list(dict.fromkeys(found))


def test_what_a_node_reaches_is_told(site: Site, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection is an answer; a name that nobody has (RFC 2606) gives none."""
    for program in ("bash", "timeout"):
        (site.folder / program).symlink_to(f"/usr/bin/{program}")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("PIP_INDEX_URL", "http://packages.example/simple")
        monkeypatch.setenv("WANDB_BASE_URL", "http://someone:secret@127.0.0.1:1")
        document = doctor(capsys, "--from-node")
    reaches = document["node"]["reaches"]
    assert {name: reaches[name] for name in ("hub", "packages", "wandb")} == {
        "hub": True, "packages": False, "wandb": True,
    }  # fmt: skip
    assert "login" in reaches and "secret" not in str(site.calls("srun"))
    assert any(line.startswith("reached there: the model hub") for line in document["node_means"])
    assert "not reached there: the package index" in document["node_means"]


def test_what_a_node_says_means() -> None:
    text = (
        "slurmstepd: noise\nhost=n7\nclock=1000\npython=\nrun_root_seen=no\nrun_root_writable=yes\nstore_seen=yes\n"
        "store_writable=no\nscontrol=\nshm=65536\ndone=yes\n"
    )
    node = from_node.read_node(text, "/opt/python", ["/a", "/b"], 1100.0, 1101.0)
    page = "\n".join(on_node(node))
    assert "/opt/python does not start there" in page
    assert "run.root: /a is another folder there" in page
    assert "store.root: /b cannot be written to there" in page
    assert "no scontrol on the PATH there" in page
    assert "/dev/shm has 0.1 GiB" in page
    assert "no route out" in page
    assert "at least 100 s behind this machine's" in page
    ahead = from_node.read_node(text + "route=eth0\n", "p", ["/a", "/b"], 900.0, 990.0)
    assert (ahead.clock_ahead_seconds, ahead.clock_window_seconds, ahead.routes) == (10, 91, ("eth0",))
    with pytest.raises(SiteError, match="ended before its time"):
        from_node.read_node("host=n7\n", "p", ["/a", "/b"], 0.0, 1.0)


def test_a_full_queue_is_left_as_it_was(site: Site, capsys: Capture) -> None:
    site.answer("srun", [], "srun: error: Unable to allocate resources: Requested nodes are busy\n", 1)
    assert main(["doctor", "--from-node", "--timeout=5"]) == 3
    out = capsys.readouterr()
    assert "no compute node answered within 5 s" in out.err
    assert "The request is cancelled" in out.err
    assert "what it means for runs" in out.out
    (srun,) = site.calls("srun")
    name = next(word for word in srun if word.startswith("--job-name=")).partition("=")[2]
    assert ["squeue", "--me", "--noheader", "--format=%i", f"--name={name}"] in site.calls("squeue")


def test_a_srun_that_hangs_is_ended_and_its_job_cancelled(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(from_node, "SLACK", 0.5)
    monkeypatch.setattr(from_node, "GONE", 0.3)
    site.answer("srun", [], "", seconds=60)
    # What was asked for stays in the queue whatever is done: that is said, too.
    site.answer("squeue", [], "123\n")
    document = doctor(capsys, "--from-node", "--timeout=0.5", expect=3)
    assert "srun did not answer within 1 s" in document["error"]
    assert "job 123 (slurmwright-doctor-" in document["error"]
    assert "is still in the queue: type `scancel 123`" in document["error"]
    assert any(call[2].startswith("--name=slurmwright-doctor-") for call in site.calls("scancel"))


def test_a_refusal_is_told(site: Site, capsys: Capture) -> None:
    site.answer("srun", [], "srun: error: invalid partition specified: fast\n", 1)
    document = doctor(capsys, "--from-node", expect=3)
    assert "invalid partition specified: fast. --partition, --account and --qos choose where" in document["error"]


@pytest.mark.parametrize(("shown", "requeue"), [("Requeue=0", False), ("Requeue=1", True), ("Other=1", None)])
def test_whether_requeue_is_forbidden_is_tried(site: Site, capsys: Capture, shown: str, requeue: bool | None) -> None:
    text = CONFIG.replace("JobSubmitPlugins        = (null)", "JobSubmitPlugins = lua")
    site.answer("scontrol", ["config"], text)
    site.answer("scontrol", ["job"], f"JobId=77 {shown} Restarts=0\n")
    site.answer("srun", [], "srun: error: busy\n", 1)
    assert doctor(capsys, "--from-node", "--qos=normal", expect=3)["requeue"] is requeue
    (sbatch,) = site.calls("sbatch")
    assert {"--hold", "--requeue", "--qos=normal"} <= set(sbatch)
    assert site_facts().requeue is requeue  # kept with the rest


def test_the_trial_job_is_cancelled(site: Site, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_node, "GONE", 0.0)
    site.answer("squeue", [], "77\n")
    site.answer("srun", [], "RUN IT")
    doctor(capsys, "--from-node")
    (sbatch,) = site.calls("sbatch")
    name = next(word for word in sbatch if word.startswith("--job-name=")).partition("=")[2]
    assert f"--name={name}" in site.calls("scancel")[0]


def test_no_default_partition_is_said(site: Site, capsys: Capture) -> None:
    site.answer("scontrol", ["partition"], PARTITIONS.replace("Default=YES", "Default=NO"))
    document = doctor(capsys)
    assert any("every run says site.partition=, one of low, high" in each["message"] for each in document["means"])
