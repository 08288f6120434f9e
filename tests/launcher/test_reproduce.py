"""`reproduce`: a run is checked, and made again with its own code, weights and rows: on a CPU the same bits."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conf.folder import RunFolder, write_json
from launcher import cli
from tests.tiny import tiny_llama, tiny_rows

pytestmark = pytest.mark.train
ROOT = Path(__file__).parents[2]


def launcher(home: Path, *words: str, expect: int = 0) -> dict[str, Any]:
    """One command with --json, as a person types it; its document and its stderr."""
    variables = {
        **os.environ, "PYTHONPATH": str(ROOT), "SLURMWRIGHT_STORE": str(home / "store"), "OMP_NUM_THREADS": "1",
        "HF_HOME": str(home / "hf"),
    }  # fmt: skip
    command = [sys.executable, "-m", "launcher", *words, "--json"]
    done = subprocess.run(command, cwd=home, env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == expect, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document | {"said": done.stderr}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one finished run of a site that has no network and a scratch disk."""
    home = tmp_path_factory.mktemp("again")
    tiny_llama(home / "tiny")
    tiny_rows(home / "rows.jsonl", 40)
    launcher(
        home, "+model=hf", f"model.id={home / 'tiny'}", "data=file", f"data.path={home / 'rows.jsonl'}",
        "data.max_length=64", "adapter.r=4", "method.max_steps=3", "cluster=local", "site=airgap",
        f"site.scratch={home}/local/{{user}}", "name=first",
    )  # fmt: skip
    return home


@pytest.fixture
def first(home: Path) -> Iterator[RunFolder]:
    """The run; what a test does to its manifest is undone."""
    folder = RunFolder(home / "runs" / "first")
    before = folder.manifest()
    yield folder
    write_json(folder.manifest_file, before)


def test_the_manifest_has_all_that_the_run_is_made_of(first: RunFolder) -> None:
    record = first.manifest()
    assert first.config().offline, "site=airgap makes every run offline"
    for asset in record["assets"].values():
        assert len(asset["digest"]) == 64
    assert (record["assets"]["model"]["source"], record["seed"]) == ("folder", 42)
    lock = record["environment"]
    assert lock["packages"]["torch"].startswith("2.") and len(lock["digest"]) == 64
    assert len(lock["packages"]) > 60 and first.code.resolve().name == record["code_digest"]


def test_workers_read_from_scratch_and_nothing_reaches_out(home: Path, first: RunFolder) -> None:
    (event,) = [line for line in first.events() if line["event"] == "scratch"]
    assert event["why"] is None and set(event["paths"]) == {"model", "data"} and event["copied"] > 10_000
    assert all(Path(path).is_relative_to(home / "local") for path in event["paths"].values())
    assert not [line for line in first.events() if line["event"] == "network_attempt"]
    base = json.loads((first.adapter / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert base == first.manifest()["assets"]["model"]["path"]


def test_the_same_bits_come_out_again_with_the_runs_own_code(home: Path, first: RunFolder) -> None:
    (home / "local").rename(home / "gone")
    answer = launcher(home, "reproduce", "first", "site.scratch=null")
    shutil.rmtree(home / "gone")
    again = RunFolder(home / "runs" / "first-again")
    assert again.result()["status"] == "completed", answer
    assert "the weights of first-again are bit for bit those of first" in answer["said"]
    record = again.manifest()
    assert (record["reproduces"], record["assets"]) == ("first", first.manifest()["assets"])
    assert again.code.resolve() == first.code.resolve()
    found = launcher(home, "reproduce", "first", "--compare", "first-again")
    assert found["identical"] is True
    weights = again.adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert launcher(home, "reproduce", "first", "--compare", "first-again", expect=4)["identical"] is False


def check(capsys: pytest.CaptureFixture[str], first: RunFolder, *words: str) -> tuple[int, dict[str, Any], str]:
    """`reproduce first --check`: exit code, document, stderr."""
    capsys.readouterr()
    code = cli.main(["reproduce", str(first.path), "--check", *words, "--json"])
    said = capsys.readouterr()
    return code, json.loads(said.out), said.err


def test_other_packages_are_named(first: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    record = first.manifest()
    record["environment"]["packages"]["torch"] = "1.0"
    write_json(first.manifest_file, record)
    code, found, said = check(capsys, first)
    assert code == 0 and len(found["packages_differ"]) == 1
    assert found["packages_differ"][0].startswith("torch: 1.0 there, 2.") and "torch: 1.0 there" in said


def test_damaged_weights_refuse(first: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    weights = Path(first.manifest()["assets"]["model"]["path"]) / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        code, found, _ = check(capsys, first)
    finally:
        weights.write_bytes(whole)
    assert code == 5 and "it is damaged" in found["error"] and str(weights.parent) in found["error"]


def test_gone_rows_refuse_offline(first: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    record = first.manifest()
    record["assets"]["data"]["path"] += "-gone"
    write_json(first.manifest_file, record)
    code, found, _ = check(capsys, first)
    assert code == 5 and "is gone from" in found["error"]


def test_changed_code_refuses(first: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    file = first.code.resolve() / "trainer" / "order.py"
    before = file.read_text()
    file.write_text(before + "\n")
    try:
        code, found, _ = check(capsys, first)
    finally:
        file.write_text(before)
    assert code == 2 and "was changed" in found["error"]


@pytest.mark.parametrize(("words", "says"), [(["seed=7"], "identity"), (["name=first"], "is there already")])
def test_another_identity_or_a_taken_name_refuses(
    first: RunFolder, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    code, found, _ = check(capsys, first, *words)
    assert code == 2 and says in json.dumps(found)
