"""Sweeps on a real Slurm: arrays split by its limits, trials that survive preemption, a submission that is killed."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conf.folder import RunFolder, write_json
from launcher import site
from sweeps.arrays import WAITING
from sweeps.folder import SweepFolder, run_of
from tests.slurm.cluster import Cluster
from tests.slurm.launching import Login, wait_for_end
from tests.sweep_proof.grid import SweepUnderPreemption

LIMIT = 1001
"""MaxArraySize of the cluster, Slurm's own default."""


@pytest.fixture
def login(cluster: Cluster, tmp_path: Path) -> Login:
    return Login(cluster, tmp_path, tmp_path / "store")


def sweeps(login: Login, *words: str, expect: int = 0) -> dict[str, Any]:
    """`python -m sweeps WORDS --json`; its document."""
    done = subprocess.run(
        [sys.executable, "-m", "sweeps", *words, "--json"],
        cwd=login.folder, env=login.environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == expect, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def submitted(login: Login, *words: str) -> SweepFolder:
    return SweepFolder(login.launcher("+cluster=sandbox", "-m", *words, timeout=500)["folder"])


def elements(login: Login, sweep: SweepFolder) -> dict[str, Counter[str]]:
    """For each array of the sweep that squeue shows, its elements by state."""
    listed = subprocess.run(
        ["squeue", "--noheader", "--array", "--format=%F %T %j"],
        env=login.environment | {"SLURM_BITSTR_LEN": "0"}, capture_output=True, text=True, timeout=180, check=True,
    )  # fmt: skip
    found: dict[str, Counter[str]] = {}
    for line in listed.stdout.splitlines():
        job, state, name = line.split()
        if name.startswith(sweep.id):
            found.setdefault(job, Counter())[state] += 1
    return found


def test_2500_held_trials_are_split_and_cancelled(login: Login) -> None:
    sweep = submitted(
        login, "+model=smollm2_135m", "site.prepare=run", "seed=range(0,2500)", "--hold", "sweep.name=many"
    )
    shown = elements(login, sweep)
    assert [sum(states.values()) for _, states in sorted(shown.items(), key=lambda pair: int(pair[0]))] == [
        LIMIT - 1, LIMIT - 1, 500,
    ]  # fmt: skip
    assert all(set(states) == {"PENDING"} for states in shown.values())
    lists = [path.read_text().splitlines() for path in sorted(sweep.chunks.glob("*.txt"))]
    assert [len(lines) for lines in lists] == [1000, 1000, 500]
    runs = [line for lines in lists for line in lines]
    assert runs == [str(run_of(sweep, trial).path) for trial in sweep.trials()]
    job, index = sorted(shown, key=int)[1], 17
    assert RunFolder(lists[1][index - 1]).events()[-1]["job_id"] == f"{job}_{index}"
    assert sweeps(login, "cancel", "many")["cancelled"] == 2500
    assert elements(login, sweep) == {}


def test_a_killed_submission_is_finished_by_the_same_command(login: Login) -> None:
    """The submitting process dies by SIGKILL while Slurm takes its array; nothing is lost, nothing comes twice."""
    words = ["+cluster=sandbox", "-m", "+model=smollm2_135m", "site.prepare=run", "seed=range(0,40)", "--hold"]
    sweep = SweepFolder(login.folder / "runs" / "cut")
    for event in ("submitting", "submitted"):
        process = subprocess.Popen(
            [sys.executable, "-m", "launcher", *words, "sweep.name=cut"],
            cwd=login.folder, env=login.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        seen = len(sweep.ledger())
        deadline = time.monotonic() + 240
        while event not in {line["event"] for line in sweep.ledger()[seen:]} and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
    try:
        login.launcher(*words, "sweep.name=cut", timeout=240)
        assert sum(sum(states.values()) for states in elements(login, sweep).values()) == 40
        for trial in sweep.trials():
            assert len([each for each in run_of(sweep, trial).events() if each["event"] == "submitted"]) == 1
    finally:
        sweeps(login, "cancel", "cut")


def test_preempted_trials_end_as_they_would_alone(login: Login, cluster: Cluster) -> None:
    """Four trials, one of them preempted; the array's other elements are left alone. `make sweep-proof` runs 12."""
    cluster.settle()
    proof = SweepUnderPreemption(cluster, login, steps=24)
    found = proof.prove(["adapter.r=4,8", "sweep.seeds=[1,2]"], preemptions=1, compare=[0, 3])
    assert [each.digest for each in found if each.alone] == [each.alone for each in found if each.alone]
    assert sum(each.preemptions for each in found) == 1
    assert all(each.attempts == 1 + each.preemptions for each in found)
    assert len({each.digest for each in found}) == 4
    assert {each.job_id.partition("_")[2] for each in found} == {"1", "2", "3", "4"}


SHAPE = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 16, "intermediate_size": 32,
    "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 64,
}  # fmt: skip
"""config.json of a model that has no weights."""


def test_jobs_submit_what_the_sites_limit_held_back(
    login: Login, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a limit of two jobs three trials (that fail at once: their model has no weights) come one after another."""
    cluster.settle()
    login.environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    for name, value in login.environment.items():
        monkeypatch.setenv(name, value)
    site.remember(replace(site.site_facts(), max_job_count=2))
    empty = tmp_path / "empty"
    empty.mkdir()
    write_json(empty / "config.json", SHAPE)
    document = login.launcher(
        "+cluster=sandbox", "-m", "+model=hf", f"model.id={empty}", "site.prepare=run", "limits.crashes=0",
        "cluster.devices_per_node=1", "seed=range(0,3)", "sweep.name=narrow", timeout=240,
    )  # fmt: skip
    assert (document["submitted"], document["waiting"]) == (2, 1)
    sweep = SweepFolder(document["folder"])
    for trial in sweep.trials():
        assert wait_for_end(run_of(sweep, trial))["status"] == "failed"
    numbers = [number for line in sweep.ledger() if line["event"] == "submitted" for number in line["elements"]]
    assert numbers == [0, 1, 2]
    deadline = time.monotonic() + 240
    while (sweep.chunks / WAITING).exists():
        assert time.monotonic() < deadline
        time.sleep(0.2)
