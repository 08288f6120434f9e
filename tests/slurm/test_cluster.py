"""The private cluster is what it claims to be: real hosts, no way out, real preemption, no trace of it afterwards."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, ClusterError, config, packages, procfs
from tests.slurm.cluster.commands import wait_until
from tests.slurm.cluster.layout import ACCOUNT
from tests.slurm.cluster.machine import marked
from tests.slurm.conftest import suffix

ROOT = Path(__file__).resolve().parents[2]
SUFFIX = suffix(os.getpid()).replace("t", "u", 1)  # of the second cluster that some tests boot


@pytest.fixture
def calm(cluster: Cluster) -> Iterator[Cluster]:
    """The session's cluster, given back without jobs and with all nodes on."""
    yield cluster
    cluster.settle()


@pytest.fixture
def second() -> Iterator[str]:
    """Suffix of a second cluster; whatever becomes of it, it is removed in the end."""
    yield SUFFIX
    command_line("down", "--suffix", SUFFIX)


def command_line(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the cluster's command line as a user does."""
    command = [sys.executable, "-m", "tests.slurm.cluster", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90)


def wait_for(cluster: Cluster, job: str, field: str, value: str, timeout: float = 180) -> None:
    """Wait until scontrol shows a field of a job with this value."""

    def reached() -> bool:
        return cluster.job(job).get(field) == value

    wait_until(reached, timeout=timeout, what=f"job {job}: {field}={value}", log=cluster.layout.log("slurmctld"))


def traces(suffix: str) -> list[str]:
    """All that is left of a cluster on this machine, in words."""
    folder = Path(f"/tmp/slurmwright-{suffix}")
    found = [f"process {pid}" for pid in marked(suffix)]
    settings = {f"SLURM_CONF={folder}/slurm.conf"}
    found += [f"{procfs.name(pid)} {pid}" for pid in procfs.pids() if settings & set(procfs.environment(pid))]
    for command in (["ip", "-oneline", "link"], ["ip", "netns", "list"], ["cat", "/proc/self/mountinfo"]):
        shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        found += [line for line in shown.splitlines() if f"slw-{suffix}" in line or str(folder) in line]
    return found + [str(folder)] * folder.exists()


def test_step_of_a_batch_job_spans_two_nodes(calm: Cluster, tmp_path: Path) -> None:
    job = calm.sbatch("srun hostname", "--nodes=2", "--nodelist=n1,n4", "--output=out", cwd=tmp_path)
    wait_for(calm, job, "JobState", "COMPLETED")
    assert sorted((tmp_path / "out").read_text().split()) == ["n1", "n4"]


def test_nodes_have_addresses_of_their_own(cluster: Cluster) -> None:
    look_up = "import socket; print(socket.getaddrinfo('n2', 80, type=socket.SOCK_STREAM)[0][4][0])"
    assert cluster.node("n1").run([sys.executable, "-c", look_up]).stdout.strip() == cluster.node("n2").address
    assert cluster.node("n2").address in cluster.node("n2").run(["ip", "-brief", "address"]).stdout
    assert len({node.address for node in cluster.nodes}) == 4


def test_nodes_have_no_way_out(cluster: Cluster) -> None:
    # Connecting a datagram socket only looks for a route: not a packet is sent, here or in a cluster that leaks.
    attempt = "import socket, sys; sys.exit(socket.socket(type=socket.SOCK_DGRAM).connect_ex(('198.51.100.1', 9)))"
    code = cluster.node("n1").run([sys.executable, "-c", attempt], check=False).returncode
    assert os.strerror(code) == "Network is unreachable"
    neighbour = attempt.replace("198.51.100.1", "n2")
    assert cluster.node("n1").run([sys.executable, "-c", neighbour], check=False).returncode == 0


def test_a_step_sees_the_gpus_it_asked_for(calm: Cluster) -> None:
    one = calm.run(["srun", "--gres=gpu:h100:2", "printenv", "CUDA_VISIBLE_DEVICES"])
    assert one.stdout.strip() == "0,1"
    all_of_them = calm.run(["srun", "--nodes=2", "--gpus-per-node=8", "printenv", "CUDA_VISIBLE_DEVICES"])
    assert all_of_them.stdout.split() == ["0,1,2,3,4,5,6,7"] * 2
    refused = calm.run(["srun", "--gres=gpu:h100:9", "true"], check=False)
    assert "Requested node configuration is not available" in refused.stderr


def test_sacct_knows_jobs_and_slurmdbd_can_be_away(calm: Cluster, tmp_path: Path) -> None:
    def account_of(job: str) -> str:
        return calm.run(["sacct", "-nPX", "-o", "State,Account", "-j", job], check=False).stdout.strip()

    job = calm.sbatch("true", cwd=tmp_path)
    wait_until(lambda: account_of(job) == f"COMPLETED|{ACCOUNT}", timeout=180, what="sacct does not know the job")
    wrong = calm.run(["sbatch", "--account=nobody", "--wrap=true"], cwd=tmp_path, check=False)
    assert "Invalid account" in wrong.stderr

    calm.stop_slurmdbd()
    assert calm.run(["sacct", "-j", job], check=False).returncode != 0
    while_away = calm.sbatch("true", cwd=tmp_path)
    wait_for(calm, while_away, "JobState", "COMPLETED")
    calm.start_slurmdbd()
    wait_until(lambda: account_of(while_away).startswith("COMPLETED"), timeout=180, what="the job is not in slurmdbd")


def test_jobs_survive_a_restart_of_slurmctld(calm: Cluster, tmp_path: Path) -> None:
    job = calm.sbatch("srun sleep 600", cwd=tmp_path)
    wait_for(calm, job, "JobState", "RUNNING")
    calm.restart_slurmctld()
    assert calm.job(job)["JobState"] == "RUNNING"


def test_preemption(calm: Cluster, tmp_path: Path) -> None:
    # A step that asks for its own requeue when it gets TERM, and one that does not listen.
    polite = "trap 'date +%s >> polite; scontrol requeue $SLURM_JOB_ID; exit 0' TERM; : >polite.set; sleep 600 & wait"
    deaf = "trap 'date +%s >> deaf' TERM; : >deaf.set; while :; do sleep 600 & wait; done"
    jobs = {}
    for name, step in {"polite": polite, "deaf": deaf}.items():
        (tmp_path / f"{name}.sh").write_text(step)
        script = f'echo start "$SLURM_RESTART_COUNT" >> {name}\n[ "$SLURM_RESTART_COUNT" ] || srun bash {name}.sh'
        jobs[name] = calm.sbatch(script, "--nodes=2", "--exclusive", "--ntasks=1", cwd=tmp_path)
        wait_for(calm, jobs[name], "JobState", "RUNNING")
        wait_until((tmp_path / f"{name}.set").exists, timeout=180, what=f"{name} sets no trap")
    high = calm.sbatch("true", "--partition=high", "--nodes=4", "--exclusive", cwd=tmp_path)
    wait_for(calm, high, "JobState", "COMPLETED")
    wait_for(calm, jobs["polite"], "JobState", "COMPLETED")
    first, _, last = (tmp_path / "polite").read_text().splitlines()
    assert (first, last) == ("start ", "start 1")
    # One TERM when the grace of 20 s begins, another when it is over; then Slurm requeues.
    terms = [int(line) for line in (tmp_path / "deaf").read_text().splitlines() if line.isdecimal()]
    assert terms[-1] - terms[0] > 15
    assert calm.job(jobs["deaf"])["Restarts"] == "1"


def test_killed_node_takes_its_processes_along_and_the_job_starts_again_elsewhere(
    calm: Cluster, tmp_path: Path
) -> None:
    job = calm.sbatch("srun sleep 600", cwd=tmp_path)
    wait_for(calm, job, "JobState", "RUNNING")
    victim = calm.node(calm.job(job)["NodeList"])
    wait_until(lambda: "sleep" in map(procfs.name, victim.processes()), timeout=180, what="the step does not run")
    before = victim.processes()
    victim.kill()
    assert not victim.processes()
    assert not any(map(procfs.arguments, before))
    wait_for(calm, job, "Restarts", "1")
    shown = calm.run(["sacct", "-nPXD", "-o", "State", "-j", job]).stdout.split()
    assert shown[0] == "NODE_FAIL"
    assert calm.states()[victim.name].startswith("down")
    wait_for(calm, job, "JobState", "RUNNING")
    assert calm.job(job)["NodeList"] != victim.name
    victim.start()
    wait_until(lambda: calm.states()[victim.name] == "idle", timeout=180, what=f"{victim} does not come back")


def test_cut_node_is_missed_and_comes_back(calm: Cluster) -> None:
    reach = ["bash", "-c", "exec 3<> /dev/tcp/n3/6818"]
    calm.node("n1").run(reach)
    calm.node("n3").cut()
    assert calm.node("n1").run(["timeout", "2", *reach], check=False).returncode != 0
    assert calm.processes("n3")
    wait_until(lambda: calm.states()["n3"].endswith("*"), timeout=180, what="nobody misses n3")
    calm.node("n3").restore()
    calm.node("n1").run(reach)
    wait_until(lambda: calm.states()["n3"] == "idle", timeout=180, what="n3 does not come back")


def test_two_clusters_at_once_and_nothing_left_when_the_owner_is_killed(calm: Cluster, second: str) -> None:
    with subprocess.Popen(["sleep", "600"]) as owner:
        up = command_line("up", "--suffix", second, "--owner", str(owner.pid), "--no-dbd", "--proctrack", "pgid")
        assert up.returncode == 0, up.stderr
        other = Cluster.attach(second)
        assert f"export SLURM_CONF={other.layout.slurm_conf}\n" in up.stdout
        assert other.layout.subnet != calm.layout.subnet
        step = ["srun", "--nodes=4", "printenv", "SLURM_CONF"]
        assert set(other.run(step).stdout.split()) == {str(other.layout.slurm_conf)}
        assert set(calm.run(step).stdout.split()) == {str(calm.layout.slurm_conf)}
        assert "pgid" in other.run(["scontrol", "show", "config"]).stdout
        with subprocess.Popen(
            ["srun", "sleep", "600"], env=os.environ | other.env, stderr=subprocess.DEVNULL
        ) as waiting:
            wait_until(lambda: bool(other.run(["squeue", "--noheader"]).stdout), timeout=180, what="no job")
            assert len(traces(second)) > 10
            owner.kill()
            owner.wait()
            wait_until(lambda: not traces(second), timeout=60, what=f"left behind: {traces(second)}")
            assert waiting.wait(10) != 0
    assert calm.run(["srun", "--nodes=4", "hostname"]).stdout.count("\n") == 4


def test_down_removes_what_a_killed_supervisor_left(second: str) -> None:
    assert command_line("up", "--suffix", second, "--no-dbd").returncode == 0
    again = command_line("up", "--suffix", second, "--no-dbd")
    assert again.returncode == 1
    assert f"cluster '{second}' is up" in again.stderr
    assert "export SLURM_CONF=" in command_line("env", "--suffix", second).stdout
    supervisor = next(pid for pid, marks in marked(second).items() if marks[-1] == "supervisor")
    procfs.end([supervisor])
    wait_until(lambda: not marked(second), timeout=60, what="the cluster outlives its supervisor")
    assert traces(second)
    over_the_rest = command_line("up", "--suffix", second, "--no-dbd")
    assert over_the_rest.returncode == 0, over_the_rest.stderr
    procfs.end(marked(second))
    assert traces(second)
    assert command_line("down", "--suffix", second).returncode == 0
    assert not traces(second)
    assert command_line("down", "--suffix", second).stdout == f"no cluster '{second}'\n"
    assert command_line("env", "--suffix", second).returncode == 1


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis").touch()
    for verb in ("up", "down"):
        said = command_line(verb, "--suffix", SUFFIX, "--dir", str(tmp_path))
        assert said.returncode == 1
        assert "not the data folder of a cluster" in said.stderr
    assert (tmp_path / "thesis").exists()


def test_failure_to_boot_shows_the_log_and_leaves_nothing(second: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = config.SLURM_CONF.replace("SlurmctldHost=head", "SlurmctldHost=elsewhere")
    monkeypatch.setattr(config, "SLURM_CONF", wrong)
    with pytest.raises(ClusterError, match=r"slurmctld died\n(.*\n)*.*log: .*not a valid controller"):
        Cluster.boot(second, accounting=False)
    assert not traces(second)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert packages.missing() == []
    monkeypatch.setitem(packages.PROGRAMS, "no-such-program", "no-such-package")
    monkeypatch.setattr(packages, "is_debian", lambda: False)
    with pytest.raises(ClusterError, match=r"missing packages: no-such-package \("):
        Cluster.boot("none")


def test_tests_that_are_left_out_are_announced() -> None:
    plugins = ["-p", "no:cacheprovider", "-p", "pytest_timeout", "-p", "xdist"]
    command = [sys.executable, "-m", "pytest", *plugins, str(Path(__file__))]
    env = os.environ | {"SLURM": "0", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    for extra in ([], ["-n1"]):
        said = subprocess.run([*command, *extra], cwd=ROOT, env=env, capture_output=True, text=True, timeout=180)
        assert re.search(r"\d+ SLURM TESTS LEFT OUT: SLURM=0", said.stdout)
        assert "passed" not in said.stdout
