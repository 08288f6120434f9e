"""Resume's own command line; what it then does is that of a submission."""

from pathlib import Path
from typing import Any

import pytest

from launcher import resume
from launcher.cli import main
from tests.launcher.folders import run

Capture = pytest.CaptureFixture[str]


def test_what_is_typed_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run(tmp_path)
    seen: list[tuple[Any, ...]] = []

    def relaunch(*arguments: Any) -> int:
        seen.append(arguments)
        return 7

    monkeypatch.setattr(resume, "relaunch", relaunch)
    words = ["resume", "mine", f"run.root={tmp_path}", "cluster.time=2:00:00", "--json", "site.qos=high"]
    assert main([*words, "--config-dir", str(tmp_path)]) == 7
    ((given, overrides, json, config_dir),) = seen
    assert given.path == folder.path
    assert (list(overrides), json, config_dir) == (["cluster.time=2:00:00", "site.qos=high"], True, tmp_path)


def test_mistakes_are_said(tmp_path: Path, capsys: Capture) -> None:
    run(tmp_path)
    assert main(["resume", "mime", "--root", str(tmp_path)]) == 2
    assert "did you mean mine" in capsys.readouterr().err
    assert main(["resume"]) == 2
    assert "RUN" in capsys.readouterr().err
    assert main(["resume", "mine", "--root", str(tmp_path), "--config-dir", "none"]) == 2
    assert "no such folder" in capsys.readouterr().err
