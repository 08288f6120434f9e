"""An offline job asks no name server where its nodes find each other without."""

import logging
import os
from pathlib import Path

import pytest

from trainer.names import ask_nobody


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    file = tmp_path / "hosts"
    file.write_text("127.0.0.1 localhost\n10.0.0.1 n1 n1.cluster # the head\n10.0.0.2\tn2\n#10.0.0.3 n3\n")
    return file


@pytest.mark.parametrize(
    ("nodes", "quiet"),
    [(["anything"], True), (["n1", "n2"], True), (["n1.cluster", "n2"], True), (["n1", "n3"], False)],
)
def test_who_is_in_the_hosts_file_needs_no_server(
    hosts: Path, nodes: list[str], quiet: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RES_OPTIONS", "ndots:1")
    with caplog.at_level(logging.WARNING):
        assert ask_nobody(nodes, hosts) is quiet
    assert os.environ["RES_OPTIONS"] == ("ndots:1 attempts:0" if quiet else "ndots:1")
    assert ("those packets leave the job's nodes" in caplog.text) is not quiet


def test_no_hosts_file_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RES_OPTIONS", "")
    assert not ask_nobody(["n1", "n2"], tmp_path / "none")
    assert ask_nobody(["n1"], tmp_path / "none")
