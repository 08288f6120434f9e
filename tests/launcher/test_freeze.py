"""Freezing: a folder is complete or not there, private, its own for ever; resuming keeps the identity."""

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from conf.folder import ROOMS, RunFolder
from conf.schema.identity import identity_digest
from conf.schema.problems import ConfigProblems
from launcher import snapshot
from launcher.again import resolve_again
from launcher.errors import InputError, SiteError
from launcher.freeze import Claim, claim, freeze, refreeze
from launcher.manifest import config_digest, git_state
from launcher.resolve import Resolved, resolve


def command(root: Path, *words: str) -> Resolved:
    return resolve(["model=smollm2_135m", "cluster=8xh100", f"run.root={root}", *words])


def frozen(root: Path, *words: str) -> RunFolder:
    made = freeze(command(root, *words), wait=0)
    made.release()
    return made.folder


def test_the_folder_holds_everything_and_reads_back(tmp_path: Path) -> None:
    resolved = command(tmp_path, "adapter.r=4", "site.environment.A=it's $(x)")
    made = freeze(resolved, wait=0)
    folder = made.folder
    assert made.created
    assert folder.config() == resolved.config
    record = folder.manifest()
    assert record["run_id"] == folder.id == f"smollm2_135m-lora-python_docs-sft-{record['identity_digest'][:8]}"
    assert record["identity_digest"] == identity_digest(folder.config())
    assert record["config_digest"] == config_digest(folder.config())
    assert record["identity"]["adapter.r"] == 4
    assert record["assets"] == {}
    assert {"torch", "trl", "python"} <= record["versions"].keys()
    assert yaml.safe_load(folder.overrides_file.read_text()) == list(resolved.overrides)
    assert "#SBATCH --nodes=1" in json.loads(folder.plan_file.read_text())["script"]
    for room in ROOMS:
        assert (folder.code / room / "__init__.py").is_file()
    assert (folder.code / "conf" / "config.yaml").is_file()


def test_nothing_of_it_is_for_others(tmp_path: Path) -> None:
    folder = frozen(tmp_path / "runs")
    for path in [tmp_path / "runs", *(tmp_path / "runs").rglob("*")]:
        if not path.is_symlink():
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert sum(1 for path in folder.path.rglob("*") if not path.is_symlink()) <= 15


def test_no_scrap_is_left_beside_it(tmp_path: Path) -> None:
    folder = frozen(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".code", folder.id}
    assert {path.name for path in (tmp_path / ".code").iterdir()} == {os.readlink(folder.code).rpartition("/")[2]}


def test_code_is_shared_by_content_and_edits_come_too_late(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    for room in ROOMS:
        (checkout / room).mkdir(parents=True)
        (checkout / room / "__init__.py").write_text("")
    (checkout / "conf" / "__pycache__").mkdir()
    (checkout / "conf" / "__pycache__" / "x.txt").write_text("")
    (checkout / "conf" / ".hidden").write_text("")
    first = snapshot.take(tmp_path, checkout)
    assert snapshot.take(tmp_path, checkout) == first
    (checkout / "trainer" / "agent.py").write_text("print(1)\n")
    second = snapshot.take(tmp_path, checkout)
    assert second != first
    copied = tmp_path / ".code" / first
    assert sorted(str(path.relative_to(copied)) for path in copied.rglob("*") if path.is_file()) == sorted(
        f"{room}/__init__.py" for room in ROOMS
    )


def test_the_same_identity_has_the_same_folder_and_another_cluster_does_not_matter(tmp_path: Path) -> None:
    first = frozen(tmp_path)
    again = freeze(command(tmp_path, "cluster.time=30", "site.partition=gpu"), wait=0)
    again.release()
    assert not again.created
    assert again.folder.path == first.path
    assert first.config().cluster.time != "30"  # freeze alone overwrites nothing


def test_a_name_of_another_identity_is_refused_with_the_difference(tmp_path: Path) -> None:
    frozen(tmp_path, "name=mine", "adapter.r=4")
    with pytest.raises(ConfigProblems) as caught:
        freeze(command(tmp_path, "name=mine", "adapter.r=8", "seed=1"), wait=0)
    said = {problem.field: problem.message for problem in caught.value.problems}
    assert set(said) == {"adapter.r", "seed"}
    assert "4 there and 8 here" in said["adapter.r"]
    assert "the default, 42, there" in said["seed"]


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match="is no run"):
        freeze(command(tmp_path, "name=mine"), wait=0)
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_root_that_cannot_be_written_is_the_sites_refusal(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SiteError, match=r"run\.root="):
        freeze(command(tmp_path / "file" / "runs"), wait=0)


def test_of_two_launchers_one_makes_the_run_and_holds_it(tmp_path: Path) -> None:
    resolved = command(tmp_path)
    made: list[Claim] = []
    barrier = threading.Barrier(4)

    def race() -> None:
        barrier.wait()
        made.append(freeze(resolved, wait=0))

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.created for one in made].count(True) == 1
    assert [one.handle is not None for one in made].count(True) == 1
    assert {path.name for path in tmp_path.iterdir()} == {".code", made[0].folder.id}
    for one in made:
        one.release()
    handle = claim(made[0].folder.path, 0)
    assert handle is not None
    os.close(handle)


def test_resuming_takes_operational_fields_and_derives_anew(tmp_path: Path) -> None:
    folder = frozen(tmp_path, "batch.global=32", "cluster.time=30", "site.account=a1")
    before = folder.manifest()
    folder.script.write_text("that of an earlier start")
    resolved = resolve_again(folder, ["cluster=2x2xh100", "site.partition=gpu"])
    changed = refreeze(folder, resolved)
    config, record = folder.config(), folder.manifest()
    assert not changed
    assert (config.cluster.nodes, config.cluster.devices_per_node, config.cluster.time) == (2, 2, "30")
    assert (config.site.partition, config.site.account) == ("gpu", "a1")
    assert config.batch.global_ == 32
    assert config.batch.micro is not None and config.batch.accumulation is not None
    assert config.batch.micro * config.batch.accumulation * 4 == 32
    assert record["identity_digest"] == before["identity_digest"]
    assert record["config_digest"] == config_digest(config) != before["config_digest"]
    assert [len(entry["overrides"]) for entry in record["submissions"]] == [6, 8]
    assert "#SBATCH --nodes=2" in json.loads(folder.plan_file.read_text())["script"]
    assert not folder.script.exists()
    assert yaml.safe_load(folder.overrides_file.read_text()) == list(resolved.overrides)
    once_more = resolve_again(folder, ["cluster=8xh100"])
    assert once_more.config.cluster.nodes == 1


def test_resuming_on_another_world_keeps_the_global_batch_that_was_derived(tmp_path: Path) -> None:
    folder = frozen(tmp_path, "cluster.nodes=2")
    assert folder.config().batch.global_ == 16
    resolved = resolve_again(folder, ["cluster.nodes=1"])
    assert resolved.config.batch.global_ == 16
    refreeze(folder, resolved)
    with pytest.raises(ConfigProblems, match=r"batch\.global=16 does not divide"):
        resolve_again(folder, ["cluster.nodes=3"])


def test_resuming_does_not_read_the_options_again(tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "cluster").mkdir(parents=True)
    (own / "cluster" / "ours.yaml").write_text("name: ours\ndevices_per_node: 2\n")
    made = freeze(resolve(["model=smollm2_135m", "cluster=ours", f"run.root={tmp_path}"], own), wait=0)
    made.release()
    (own / "cluster" / "ours.yaml").unlink()
    assert resolve_again(made.folder, ["cluster.time=30"]).config.world_size == 2


@pytest.mark.parametrize("words", [["adapter.r=3"], ["adapter=full"], ["model=llama3_8b"], ["seed=7"]])
def test_resuming_cannot_change_the_identity(words: list[str], tmp_path: Path) -> None:
    folder = frozen(tmp_path, "name=x")
    with pytest.raises(ConfigProblems, match="another identity"):
        refreeze(folder, resolve_again(folder, words))


def test_resuming_refuses_what_is_wrong_all_at_once(tmp_path: Path) -> None:
    folder = frozen(tmp_path)
    with pytest.raises(ConfigProblems) as caught:
        resolve_again(folder, ["cluster=9xh100", "site.partitoin=x", "checkpoint.keep=0", "recipe=x"])
    assert [problem.field for problem in caught.value.problems] == [
        "checkpoint.keep", "cluster", "recipe", "site.partitoin",
    ]  # fmt: skip


def test_another_store_means_preparing_again(tmp_path: Path) -> None:
    folder = frozen(tmp_path, f"store.root={tmp_path}/a")
    record = folder.manifest() | {"assets": {"model": {"path": "x"}}}
    folder.manifest_file.write_text(json.dumps(record))
    refreeze(folder, resolve_again(folder, ["cluster.time=30"]))
    assert folder.manifest()["assets"]
    refreeze(folder, resolve_again(folder, [f"store.root={tmp_path}/b"]))
    assert folder.manifest()["assets"] == {}


def test_rows_that_changed_since_are_another_identity(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a"}\n')
    folder = frozen(tmp_path, "data=file", f"data.path={rows}")
    rows.write_text('{"text": "b"}\n')
    with pytest.raises(ConfigProblems, match=r"data\.digest"):
        refreeze(folder, resolve_again(folder, []))


def test_git_state_of_a_checkout_and_of_none(tmp_path: Path) -> None:
    assert git_state(tmp_path) == {"commit": None, "diff_digest": None}
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "a.py").write_text("1\n")
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "m"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True, timeout=180)
    clean = git_state(tmp_path)
    assert clean["commit"] and clean["diff_digest"] is None
    (tmp_path / "conf" / "a.py").write_text("2\n")
    assert git_state(tmp_path)["diff_digest"]
    assert git_state(tmp_path / "conf") == {"commit": None, "diff_digest": None}  # not the top of a checkout


def test_the_copied_code_is_what_runs_from_the_folder(tmp_path: Path) -> None:
    folder = frozen(tmp_path)
    shown = subprocess.run(
        [sys.executable, "-c", "import conf, launcher; print(conf.__file__); print(launcher.ROOT)"],
        cwd=tmp_path,
        env={"PYTHONSAFEPATH": "1", "PYTHONPATH": str(folder.code)},
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    ).stdout.split()
    copy = (tmp_path / os.readlink(folder.code).removeprefix("../")).resolve()
    assert [Path(line).resolve() for line in shown] == [copy / "conf" / "__init__.py", copy]
