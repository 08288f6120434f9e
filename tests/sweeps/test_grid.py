"""Which runs a command means: Hydra's grammar, values that go together, what is left out, repeats, layers."""

import json
from pathlib import Path
from typing import Any

import pytest

from conf.schema.identity import run_id
from launcher.cli import main
from launcher.resolve import resolve

LINE = ["+model=smollm2_135m", "cluster=local"]


def planned(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["plan", *LINE, "-m", *words, "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def values(document: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [tuple(trial["values"].values()) for trial in document["trials"]]


def problems(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, str]:
    """Messages by field of a line that is refused."""
    assert main(["plan", *LINE, "-m", *words, "--json"]) == 2
    return {each["field"]: each["message"] for each in json.loads(capsys.readouterr().out)["problems"]}


def test_a_search_shows_its_space(capsys: pytest.CaptureFixture[str]) -> None:
    rate = "tag(log,interval(1e-5,1e-3))"
    assert main(["plan", *LINE, "-m", "sweep=tpe", f"method.learning_rate={rate}", "adapter.r=8,16", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["search"] == "tpe"
    assert document["space"] == {"method.learning_rate": rate, "adapter.r": "8,16"}
    assert main(["plan", *LINE, "-m", "sweep=tpe", "sweep.seeds=[1,2]", f"method.learning_rate={rate}"]) == 2
    assert "sweep.seeds is of a grid" in capsys.readouterr().err


def test_lists_ranges_globs_and_groups_are_multiplied(capsys: pytest.CaptureFixture[str]) -> None:
    found = planned(capsys, "adapter=glob(*ora,exclude=q*)", "adapter.r=range(4,10,2)", "seed=1,2")
    adapters = {trial["values"]["adapter"] for trial in found["trials"]}
    assert {"lora", "dora"} <= adapters and not any(name.startswith("q") for name in adapters)
    assert len(found["trials"]) == len(adapters) * 3 * 2
    assert found["trials"][0]["values"] | {"adapter": ""} == {"adapter": "", "adapter.r": 4, "seed": 1}


def test_a_trial_is_the_run_of_its_own_command(capsys: pytest.CaptureFixture[str]) -> None:
    found = planned(capsys, "adapter=lora,dora", "method.learning_rate=1e-4,3e-4")
    alone = resolve([*LINE, "adapter=dora", "method.learning_rate=3e-4"])
    assert found["trials"][-1]["run_id"] == run_id(alone.config)


def test_values_that_go_together(capsys: pytest.CaptureFixture[str]) -> None:
    found = planned(capsys, "sweep.zip=[{adapter.r:[8,16],adapter.alpha:[8,64]}]", "seed=1,2")
    assert values(found) == [(1, 8, 8), (1, 16, 64), (2, 8, 8), (2, 16, 64)]
    said = problems(capsys, "sweep.zip=[{adapter.r:[8,16],adapter.alpha:[8]}]")
    assert "adapter.r has 2, adapter.alpha has 1" in said["sweep.zip"]


def test_combinations_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["adapter=lora,dora", "adapter.r=4,8,16"]
    found = planned(capsys, *words, "sweep.exclude=[{adapter:dora,adapter.r:[8,16]}]")
    assert values(found) == [("lora", 4), ("lora", 8), ("lora", 16), ("dora", 4)]
    assert "does not vary" in problems(capsys, *words, "sweep.exclude=[{seed:1}]")["sweep.exclude"]
    assert planned(capsys, *words, "sweep.exclude=[{adapter.r:5}]")["warnings"][-1]["rule"] == "exclude"


def test_repeats_over_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    found = planned(capsys, "adapter.r=4,8", "sweep.seeds=[1,2,3]")
    assert values(found) == [(4, 1), (4, 2), (4, 3), (8, 1), (8, 2), (8, 3)]
    assert "seed varies already" in problems(capsys, "seed=1,2", "sweep.seeds=[1,2,3]")["sweep.seeds"]


def test_a_named_sweep_is_a_layer(capsys: pytest.CaptureFixture[str]) -> None:
    """alpha follows the rank, the learning rate falls; what is typed goes before the file. -m is not needed."""
    assert main(["plan", *LINE, "sweep=lora_rank", "adapter.r=4,64", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    alone = [
        run_id(resolve([*LINE, f"adapter.r={r}", f"adapter.alpha={2.0 * r}", f"adapter.learning_rate={rate}"]).config)
        for r, rate in ((4, 4e-4), (64, 1e-4))
    ]
    assert [trial["run_id"] for trial in found["trials"]] == alone
    typed = planned(capsys, "sweep=lora_rank", "adapter.r=4,64", "adapter.alpha=16.0")
    assert typed["trials"][0]["run_id"] == run_id(
        resolve([*LINE, "adapter.r=4", "adapter.alpha=16.0", "adapter.learning_rate=4e-4"]).config
    )
    assert len(planned(capsys, "sweep=lora_rank")["trials"]) == 6


def test_a_sweep_of_ones_own(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "mine.yaml").write_text("axes:\n  adapter: [lora, full]\n  seed: range(1,4)\n")
    found = planned(capsys, f"--config-dir={tmp_path}", "sweep=mine")
    assert len(found["trials"]) == 6
    (tmp_path / "sweep" / "wrong.yaml").write_text("axes:\n  adapter.r: [4]\nsearh: grid\n")
    said = problems(capsys, f"--config-dir={tmp_path}", "sweep=wrong")["sweep.searh"]
    assert "did you mean sweep.search" in said and f"{tmp_path}/sweep/wrong.yaml:3" in said


def test_everything_wrong_with_a_sweep_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    said = problems(
        capsys, "adapter.r=0,4,8", "seed=range(0,20)", "adaptr.alpha=3", "method.epochs=no", "name=x", "run.root=a,b"
    )
    assert "[in 20 of 60 trials, as adapter.r=0 seed=0]" in said["adapter.r"]
    assert "did you mean adapter.alpha?" in said["adaptr.alpha"] and "trials" not in said["adaptr.alpha"]
    assert "must be a number" in said["method.epochs"]
    assert "sweep.name" in said["name"]
    assert "run.root" in said


@pytest.mark.parametrize(
    ("words", "field", "says"),
    [
        (["method.learning_rate=interval(1e-5,1e-3)"], "method.learning_rate", "sweep=tpe"),
        (["adapter.r=4", "adapter.r=8,16"], "adapter.r", "given twice"),
        (["sweep.parallel=1,2"], "sweep.parallel", "one value"),
        (["sweep.parallel=0", "seed=1,2"], "sweep.parallel", "greater than 0"),
        (["adapter=glob(x*)"], "adapter", "matches no option"),
        (["seed=range(0,200000)"], "sweep", "at most"),
        (["cluster=8xh100,local"], "cluster", "given twice"),
        (["seed=1,2", "sweep.exclude=[{seed:[1,2]}]"], "sweep", "no combination is left"),
    ],
)
def test_what_cannot_be_a_grid(words: list[str], field: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert says in problems(capsys, *words)[field]


def test_what_does_not_decide_the_result_makes_no_second_run(capsys: pytest.CaptureFixture[str]) -> None:
    found = planned(capsys, "adapter.r=4,8", "tracking=none,tensorboard")
    assert len(found["trials"]) == 2
    assert "same-run" in {warning["rule"] for warning in found["warnings"]}


def test_one_run_takes_no_flags_of_sweeps(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*LINE, "--hold"]) == 2
    assert "add -m" in capsys.readouterr().err
