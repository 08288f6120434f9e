"""`stage` and `verify`: what a run touches lies in the store, with a record that proves it; what does not is named."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher import cli
from launcher.stage import part_size
from tests.hub.server import TOKEN
from tests.launcher.conftest import WORDS, Staged
from tests.launcher.fakes import FakeSlurm

OFFLINE = (*WORDS, "offline=true")


def verify(capsys: pytest.CaptureFixture[str], *words: str, expect: int) -> dict[str, Any]:
    """`python -m launcher verify WORDS --json`."""
    capsys.readouterr()
    code = cli.main(["verify", *words, "--json"])
    said = capsys.readouterr()
    assert code == expect, said.err
    document: dict[str, Any] = json.loads(said.out)
    return document | {"said": said.err}


@pytest.mark.train
def test_every_asset_is_recorded_with_its_source_commit_digest_files_and_licence(staged: Staged) -> None:
    record = staged.answer["staged"][0]
    model, data = record["assets"]
    assert (model["kind"], model["source"], model["id"]) == ("models", "hub", "org/tiny")
    assert model["revision"] == staged.commit
    assert model["licence"] == {"name": "apache-2.0", "gated": True, "accepted_by": "a-person"}
    names = {file["name"] for file in model["files"]}
    assert {"config.json", "generation_config.json", "chat_template.jinja", "tokenizer.json"} <= names
    assert (data["kind"], data["id"]) == ("data", "org/rows")
    assert list(data["revision"]) == ["org/rows@main"]
    for asset in record["assets"]:
        assert asset["path"] == f"{asset['kind']}/{asset['digest']}"
        for file in asset["files"]:
            assert (staged.store / asset["path"] / file["name"]).stat().st_size == file["size"]
    assert not any(TOKEN.encode() in path.read_bytes() for path in staged.store.rglob("*") if path.is_file())
    assert TOKEN not in staged.said


@pytest.mark.train
def test_a_whole_store_is_complete_without_a_network(staged: Staged, capsys: pytest.CaptureFixture[str]) -> None:
    found = verify(capsys, *OFFLINE, expect=0)
    assert found["complete"] is True
    assert [asset["id"] for asset in found["assets"]] == ["org/tiny", "org/rows"]
    assert cli.main(["verify", *OFFLINE]) == 0
    shown = capsys.readouterr().out
    assert f"org/tiny at {staged.commit[:12]}: 6 files" in shown
    assert "apache-2.0, accepted by a-person" in shown


def cut(weights: Path) -> None:
    os.truncate(weights, 1000)


def flip(weights: Path) -> None:
    with weights.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))


def link(weights: Path) -> None:
    elsewhere = weights.parents[3] / "elsewhere.safetensors"
    weights.rename(elsewhere)
    weights.symlink_to(elsewhere)


def link_folder(weights: Path) -> None:
    elsewhere = weights.parents[3] / "elsewhere"
    weights.parent.rename(elsewhere)
    weights.parent.symlink_to(elsewhere)


@pytest.mark.train
@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (Path.unlink, "is missing"),
        (cut, "has 1000 bytes, not"),
        (flip, "has another sha256 than when it was staged"),
        (link, "is a link, or lies behind one"),
        (link_folder, "is a link, or lies behind one"),
    ],
)
def test_what_is_missing_or_damaged_is_named_with_the_command_that_stages_it(
    staged: Staged, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None], what: str
) -> None:
    weights = staged.weights
    damage(weights)
    found = verify(capsys, *OFFLINE, expect=5)
    lacks = [lack for lack in found["missing"] if lack["file"] == str(weights)]
    assert len(lacks) == 1
    assert what in lacks[0]["what"]
    assert f"{weights} {lacks[0]['what']}" in found["said"]
    assert f"`python -m launcher stage {' '.join(WORDS)} --store {staged.store}`" in found["fix"]


def change(staged: Staged, edit: Callable[[dict[str, Any]], None]) -> None:
    """Edit the record of the store."""
    path = next((staged.store / "staged").iterdir())
    record = json.loads(path.read_text())
    edit(record)
    path.write_text(json.dumps(record))


@pytest.mark.train
@pytest.mark.parametrize(
    ("edit", "what"),
    [
        (lambda record: record["assets"][0].update(path="../elsewhere"), "the record is damaged"),
        (lambda record: record["assets"][0]["files"].pop(), "files that do not give its digest"),
        (lambda record: record["assets"][0]["licence"].update(accepted_by=None), "nobody is recorded to have accepted"),
        (lambda record: record["index"].append("../../etc/passwd"), "is missing: by it the run finds"),
    ],
)
def test_a_record_that_was_tampered_with_is_not_believed(
    staged: Staged, capsys: pytest.CaptureFixture[str], edit: Callable[[dict[str, Any]], None], what: str
) -> None:
    change(staged, edit)
    found = verify(capsys, *OFFLINE, expect=5)
    assert what in found["said"]


@pytest.mark.train
def test_weights_that_cannot_be_loaded_are_named(staged: Staged, capsys: pytest.CaptureFixture[str]) -> None:
    """A record of the wrong file: sizes and digests agree, and still no library would load it."""
    import hashlib

    from conf.staged import digest_of_files

    weights = staged.weights
    weights.write_bytes(b"\xff" * 64)

    def edit(record: dict[str, Any]) -> None:
        model = record["assets"][0]
        for file in model["files"]:
            if file["name"] == weights.name:
                file |= {"size": 64, "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
        model["digest"] = digest_of_files(model["files"])
        model["path"] = f"models/{model['digest']}"

    change(staged, edit)
    weights.parent.rename(next(iter((staged.store / "models").iterdir())).with_name(_digest(staged)))
    found = verify(capsys, *OFFLINE, expect=5)
    assert "is no safetensors file, or is cut off in its header" in found["said"]


def _digest(staged: Staged) -> str:
    record = json.loads(next((staged.store / "staged").iterdir()).read_text())
    digest: str = record["assets"][0]["digest"]
    return digest


@pytest.mark.train
@pytest.mark.parametrize("word", ["data.max_length=32", "seed=2", "model.revision=v1"])
def test_a_run_of_other_assets_was_never_staged(staged: Staged, capsys: pytest.CaptureFixture[str], word: str) -> None:
    found = verify(capsys, *OFFLINE, word, expect=5)
    assert "never staged" in found["said"]
    assert word in found["fix"]
    assert verify(capsys, *OFFLINE, "method.learning_rate=1e-3", "adapter.r=64", expect=0)["complete"]


@pytest.mark.train
@pytest.mark.parametrize("prepare", ["login", "job"])
def test_nothing_is_submitted_with_a_file_missing(
    staged: Staged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], prepare: str
) -> None:
    slurm = FakeSlurm(tmp_path / "bin")
    slurm.install(monkeypatch)
    weights = staged.weights
    weights.unlink()
    words = [*OFFLINE, "cluster=1xh100", f"site.prepare={prepare}", f"run.root={tmp_path / 'runs'}"]
    assert cli.main(words) == 5
    said = capsys.readouterr().err
    assert f"{weights} is missing" in said
    assert slurm.calls("sbatch") == []
    assert not (tmp_path / "runs").exists()
    assert cli.main(["plan", *words, "--json"]) == 0


@pytest.mark.train
def test_a_complete_run_is_submitted(
    staged: Staged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm = FakeSlurm(tmp_path / "bin")
    slurm.install(monkeypatch)
    words = [*OFFLINE, "cluster=1xh100", "site.prepare=job", f"run.root={tmp_path / 'runs'}"]
    assert cli.main(words) == 0, capsys.readouterr().err
    assert len(slurm.submitted()) == 2  # what prepares, and what trains


@pytest.mark.parametrize("word", ["0", "-1", "4T", "G", "1.5G", ""])
def test_a_size_that_is_none_is_refused(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["stage", *WORDS, "--bundle", "x", f"--part-size={word}"]) == 2
    assert "is no size: give bytes, or a number with K, M or G, as 4G" in capsys.readouterr().err


def test_sizes_have_units() -> None:
    assert [part_size(text) for text in ("7", "64K", "700m", "4G")] == [7, 64 * 2**10, 700 * 2**20, 4 * 2**30]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--wheelhouse"], "--wheelhouse goes with a bundle: add --bundle FILE"),
        (["--from-bundle", "x", "+model=hf"], "--from-bundle takes no words of a run"),
        (["--from-bundle", "nowhere"], "--from-bundle nowhere cannot be read: No such file"),
    ],
)
def test_flags_that_do_not_go_together(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["stage", *words]) == 2
    assert said in capsys.readouterr().err
