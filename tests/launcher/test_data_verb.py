"""The verb `data`: a private temporary run, the trainer's command, nothing left behind."""

from pathlib import Path

import pytest

from conf.folder import RunFolder
from launcher import data
from launcher.cli import main
from launcher.errors import AssetsMissing


def test_rows_are_shown_from_a_temporary_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[RunFolder, list[str]]] = []

    def note(folder: RunFolder, words: list[str]) -> None:
        assert folder.config().cluster.kind == "local"
        assert (folder.code / "trainer").is_dir()
        asked.append((folder, words))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "run_trainer", note)
    assert main(["data", "+model=smollm2_135m", "--row", "3", "--split=eval", "data.max_length=64", "--json"]) == 0
    ((folder, words),) = asked
    assert words == ["show-data", str(folder.path), "--row=3", "--split=eval", "--json"]
    assert not folder.path.exists()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["--row"], ["--row", "x"], ["--split", "other"], ["--what"], ["adapter.rr=1"]])
def test_what_is_wrong_is_refused(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "run_trainer", lambda *_: pytest.fail("must not run"))
    assert main(["data", "+model=smollm2_135m", *words]) == 2


def test_the_trainers_exit_code_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise AssetsMissing("no weights")

    monkeypatch.setattr(data, "run_trainer", missing)
    assert main(["data", "+model=smollm2_135m"]) == 5
