"""What the start of an attempt does not import: every requeue would pay for it."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from conf.folder import RunFolder, write_json
from conf.schema.run import RunConfig
from tests.trainer.agents import REPOSITORY, agents, run_folder, until
from trainer.stack import unneeded

ALL = {"bitsandbytes", "boto3", "deepspeed", "mlflow", "wandb"}
FOUR_BITS = {"quant_method": "bitsandbytes", "load_in_4bit": True}


@pytest.mark.parametrize(
    ("groups", "needed"),
    [
        ({}, set()),
        ({"adapter": {"bits": 4}}, {"bitsandbytes"}),
        ({"adapter": {"init": "loftq"}}, {"bitsandbytes"}),
        ({"parallel": {"strategy": "zero1"}}, {"deepspeed"}),
        ({"tracking": {"name": "wandb"}}, {"wandb", "boto3"}),
        ({"tracking": {"name": "mlflow"}}, {"mlflow", "boto3"}),
    ],
)
def test_a_package_is_left_out_unless_the_run_uses_it(
    tmp_path: Path, groups: Mapping[str, Any], needed: set[str]
) -> None:
    write_json(tmp_path / "config.json", {"model_type": "llama"})
    config = RunConfig.model_validate(groups)
    assert set(unneeded(config, "torch", tmp_path)) == ALL - needed


def test_an_optimiser_and_quantised_weights_bring_their_package(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", {"model_type": "llama"})
    assert "bitsandbytes" not in unneeded(RunConfig(), "bitsandbytes", tmp_path)
    write_json(tmp_path / "config.json", {"model_type": "llama", "quantization_config": FOUR_BITS})
    assert "bitsandbytes" not in unneeded(RunConfig(), "torch", tmp_path)


def test_a_worker_imports_all_at_once_and_nothing_that_its_run_leaves_out(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", {"model_type": "llama"})
    code = (
        "import gc, sys\n"
        "from pathlib import Path\n"
        "from conf.schema.run import RunConfig\n"
        "from trainer import worker\n"
        "before = {name.partition('.')[0] for name in sys.modules}\n"
        "worker.stack.bring_in(RunConfig(tracking={'name': 'none'}), Path(sys.argv[1]))\n"
        "after = {name.partition('.')[0] for name, module in sys.modules.items() if module is not None}\n"
        "stack = {'torch', 'transformers', 'trl', 'peft', 'datasets', 'accelerate'}\n"
        "print(sorted(before & stack), sorted(stack - after), gc.isenabled(), gc.get_freeze_count() > 0)\n"
        "print(sorted(after & {'bitsandbytes', 'boto3', 'deepspeed', 'mlflow', 'wandb'}))\n"
        "print('torch._inductor.compile_fx' in sys.modules)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines() == ["[] [] True True", "[]", "False"], done.stderr


WHEN_TORCH = """
    out(folder, f"started-{rank}")
    while not (Path(folder) / "go").exists():
        time.sleep(0.05)
    finish(folder)
    return 0
"""
SLOW_STORE = """
import trainer.peers_as_written as written
from trainer.peers_as_written import *

def host(server, meeting):
    folder = Path(os.environ["FOLDER"])
    while not (folder / "started-0").exists():
        time.sleep(0.05)
    return written.host(server, meeting)
"""


def test_workers_start_before_their_agent_has_imported_torch(tmp_path: Path) -> None:
    """The agent's store, for which it imports torch, waits here for a worker to have started."""
    folder = run_folder(tmp_path / "run", WHEN_TORCH)
    _wrap_peers(folder)
    with agents(folder, FOLDER=str(folder.path)) as (agent,):
        until(lambda: (folder.path / "started-0").exists(), "a worker starts")
        (folder.path / "go").touch()
        until(lambda: agent.poll() is not None, "the agent leaves")
        assert agent.returncode == 0, (folder.attempt_folder(1) / "127.0.0.1.log").read_text()


def _wrap_peers(folder: RunFolder) -> None:
    own = folder.code / "trainer" / "peers.py"
    own.rename(own.with_name("peers_as_written.py"))
    own.write_text("import os, time\nfrom pathlib import Path\n" + SLOW_STORE)
