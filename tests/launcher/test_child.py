"""Trainer commands as child processes: the run's own code, exit codes that mean something."""

import json
from pathlib import Path

import pytest

from conf.folder import RunFolder
from launcher.child import run_trainer
from launcher.errors import LauncherError

_TRAINER = """
import json, os, sys
print("said")
json.dump({"argv": sys.argv[1:], "cwd": os.getcwd(), "path": os.environ["PYTHONPATH"], "safe": sys.flags.safe_path,
           "rank": os.environ.get("RANK")}, open(os.path.join(sys.argv[2], "seen.json"), "w"))
sys.exit(int(sys.argv[3]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    trainer = tmp_path / "code" / "trainer"
    trainer.mkdir(parents=True)
    (trainer / "__init__.py").write_text("")
    (trainer / "__main__.py").write_text(_TRAINER)
    return RunFolder(tmp_path)


def test_the_runs_own_code_is_run_in_a_clean_environment(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("RANK", "3")
    run_trainer(folder, ["prepare", str(folder.path), "0"])
    seen = json.loads((folder.path / "seen.json").read_text())
    assert seen == {
        "argv": ["prepare", str(folder.path), "0"],
        "cwd": str(folder.code),
        "path": f"{folder.code}:/somewhere",
        "safe": True,
        "rank": None,
    }
    assert capfd.readouterr().out == "said\n"


def test_quiet_keeps_stdout_for_the_document(folder: RunFolder, capfd: pytest.CaptureFixture[str]) -> None:
    run_trainer(folder, ["prepare", str(folder.path), "0"], quiet=True)
    assert capfd.readouterr() == ("", "said\n")


@pytest.mark.parametrize(("child", "ours"), [(2, 2), (5, 5), (1, 1), (77, 1)])
def test_exit_codes_keep_their_meaning(folder: RunFolder, child: int, ours: int) -> None:
    with pytest.raises(LauncherError) as caught:
        run_trainer(folder, ["prepare", str(folder.path), str(child)], quiet=True)
    assert caught.value.exit_code == ours
