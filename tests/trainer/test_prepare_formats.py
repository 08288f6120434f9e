"""`trainer prepare` on rows of every format: long rows, streams, templates by name, sets, the hub through its cache."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from conf.folder import RunFolder
from conf.schema.derive import derive
from conf.schema.run import RunConfig
from tests.tiny import tiny_llama
from trainer.data.prepared import load
from trainer.prepare import prepare
from trainer.show_data import main as show_main

pytestmark = pytest.mark.train
ROOT = Path(__file__).parents[2]
Make = Callable[..., RunFolder]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def make(model: Path, tmp_path: Path) -> Make:
    """Freezes a run as the launcher does, on rows given as values: `make("name", [..], data={...})`."""

    def freeze(name: str, rows: list[dict[str, Any]], **groups: Any) -> RunFolder:
        file = tmp_path / f"{name}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        data = {"name": "file", "source": "file", "path": str(file), "max_length": 64, "eval_fraction": 0.0}
        values: dict[str, Any] = {"model": {"id": str(model)}, "store": {"root": str(tmp_path / "store")}} | groups
        if "model" in groups:
            values["model"] = {"id": str(model)} | groups["model"]
        config = derive(RunConfig.model_validate(values | {"data": data | groups.get("data", {})}))
        folder = RunFolder(tmp_path / name)
        folder.path.mkdir()
        folder.config_file.write_text(yaml.safe_dump(config.dump()))
        return folder

    return freeze


def lengths(folder: RunFolder) -> list[int]:
    return [len(ids) for ids in load(prepare(folder).data.path, "train")["input_ids"]]


LONG = {"text": "list " * 50}
SHORT = {"text": "list"}


@pytest.mark.parametrize(
    ("overlong", "expected", "left_out"),
    [("cut", [20, 2], 0), ("drop", [2], 1), ("split", [20, 20, 12, 2], 0)],
)
def test_long_rows(make: Make, overlong: str, expected: list[int], left_out: int) -> None:
    folder = make("run", [LONG, SHORT], data={"format": "text", "overlong": overlong, "max_length": 20})
    assert lengths(folder) == expected
    asset = prepare(folder).data
    counts = json.loads((Path(asset.path) / "data.json").read_text())
    assert counts["too_long_rows"] == left_out
    assert counts["cut_rows"] == (overlong == "cut")
    if overlong == "split":
        train = load(asset.path, "train")
        assert [labels[0] for labels in train["labels"]] == [-100] * 4
        assert [ids[-1] == 2 for ids in train["input_ids"]] == [False, False, True, True]


def test_split_leaves_out_long_rows_of_other_kinds(make: Make) -> None:
    rows = [{"instruction": "list " * 50, "output": "a"}, {"instruction": "list", "output": "a"}]
    data = {"format": "prompt", "prompt": "{instruction} ", "overlong": "split", "max_length": 20}
    assert len(lengths(make("run", rows, data=data))) == 1


def test_a_stream_ends_when_the_run_has_enough(make: Make) -> None:
    rows: list[dict[str, Any]] = [{"text": f"list {number}"} for number in range(20)] + [{"no": "text"}]
    method, batch = {"max_steps": 4}, {"global": 3}
    data = {"format": "text", "streaming": True, "eval_rows": 2}
    folder = make("few", rows, data=data, method=method, batch=batch)
    asset = prepare(folder).data
    assert (asset.train_rows, asset.eval_rows) == (12, 2)
    more = make("more", rows[:20], data=data, method={"max_steps": 90}, batch=batch)
    assert prepare(more).data.train_rows == 18
    packed = make(
        "packed", rows[:20], data=data | {"packing": True, "max_length": 9}, method=method, batch={"global": 1}
    )
    asset = prepare(packed).data
    assert asset.sequences >= 4
    assert 36 <= asset.tokens < 36 + 9


def test_shipped_texts_count_not_their_names(make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from conf.schema import templates

    rows = [{"messages": [{"role": "user", "content": "list"}, {"role": "assistant", "content": "a key"}]}]
    by_name = prepare(make("name", rows, model={"chat_template": "llama2"})).data
    text = templates.template_text("llama2")
    by_text = make("text", rows, model={"chat_template": text})
    monkeypatch.setattr("trainer.data.prepared._build", None)
    assert prepare(by_text).data == by_name
    monkeypatch.undo()
    other = tmp_path / "templates"
    other.mkdir()
    (other / "llama2.jinja").write_text(text.replace("[INST]", "[ASK]"))
    monkeypatch.setattr(templates, "TEMPLATES", other)
    changed = prepare(make("changed", rows, model={"chat_template": "llama2"})).data
    assert changed.digest != by_name.digest
    of_set = [prepare(make(f"set {n}", rows, data={"chat_template": t})).data for n, t in enumerate(("llama2", text))]
    assert of_set[0].digest != of_set[1].digest == by_name.digest or of_set[0].tokens != of_set[1].tokens


def test_prompts_and_added_tokens_count(make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from conf.schema import templates

    rows = [{"instruction": "list", "output": "<key>"}]
    data = {"format": "prompt", "prompt": "alpaca", "max_length": 500}
    plain = prepare(make("plain", rows, data=data)).data
    added = prepare(make("added", rows, data=data, model={"added_tokens": ["<key>"]})).data
    assert added.trained_tokens == 2 < plain.trained_tokens
    other = tmp_path / "prompts"
    other.mkdir()
    text = templates.shipped_prompts()["alpaca"].read_text().replace("Below", "Under")
    (other / "alpaca.yaml").write_text(text)
    monkeypatch.setattr(templates, "PROMPTS", other)
    assert prepare(make("changed", rows, data=data)).data.digest != plain.digest


def test_another_tokenizer_makes_the_tokens(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from transformers import AutoTokenizer

    rows = [{"instruction": "list", "output": "<key>"}]
    data = {"format": "prompt", "prompt": "alpaca", "max_length": 500}
    own = make("own", rows, data=data)
    other = AutoTokenizer.from_pretrained(own.config().model.id)
    other.add_tokens(["<key>"])
    other.save_pretrained(tmp_path / "other")
    folder = make("other run", rows, data=data, model={"tokenizer": str(tmp_path / "other")})
    assets = prepare(folder)
    assert folder.manifest()["assets"]["model"]["tokenizer"] == str(tmp_path / "other")
    assert assets.model.tokenizer == str(tmp_path / "other")
    assert load(assets.data.path, "train")[0]["labels"][-2:] == [len(other) - 1, 2]
    assert assets.data.trained_tokens < prepare(own).data.trained_tokens
    assert show_main([str(folder.path), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["text"].endswith("### Instruction:\nlist\n\n### Response:\n<key><|im_end|>")
    assert [token["text"] for token in row["tokens"] if token["label"] != -100] == ["<key>", "<|im_end|>"]


def test_a_dataset_of_the_hub_is_found_again_without_the_hub(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Api:
        commit = "c0ffee"

        def dataset_info(self, dataset: str, revision: str | None, timeout: float) -> Any:
            return type("Info", (), {"sha": self.commit})

    loaded: list[str] = []

    def load_dataset(dataset: str, **options: Any) -> list[dict[str, Any]]:
        loaded.append(options["revision"])
        return [{"text": f"list of {options['revision']}"}]

    monkeypatch.setattr("huggingface_hub.HfApi", lambda **options: Api())
    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    data = {"source": "hub", "path": "owner/name", "format": "text"}
    first = make("first", [], data=data)
    asset = prepare(first).data
    assert asset.revisions == {"owner/name@main": "c0ffee"}
    assert first.manifest()["assets"]["data"]["revisions"] == asset.revisions
    assert prepare(make("offline", [], data=data, offline=True)).data == asset
    assert loaded == ["c0ffee"]
    Api.commit = "decaf"
    newer = prepare(make("newer", [], data=data)).data
    assert newer.digest != asset.digest
    assert prepare(make("offline later", [], data=data, offline=True)).data == newer
    # A run keeps to the commit that it began with.
    os.rename(asset.path, tmp_path / "gone")
    assert prepare(first).data == asset
    assert loaded == ["c0ffee", "decaf", "c0ffee"]


def test_a_dataset_that_nobody_has_ends_with_5(make: Make, tmp_path: Path) -> None:
    folder = make("run", [], data={"source": "hub", "path": "owner/name"}, offline=True)
    done = subprocess.run(
        [sys.executable, "-m", "trainer", "prepare", str(folder.path)],
        cwd=ROOT,
        env=os.environ | {"HF_HOME": str(tmp_path / "hf")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 5, done.stderr
    assert "error: dataset owner/name cannot be had: the hub was not asked or did not answer" in done.stderr
    assert "Traceback" not in done.stderr
