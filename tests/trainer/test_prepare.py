"""`trainer prepare` and `show-data` through their door: assets, done once, kept, refused with words."""

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
from tests.tiny import tiny_llama, tiny_rows
from trainer.data.prepared import load
from trainer.prepare import Assets, prepare
from trainer.prepare import main as prepare_main
from trainer.show_data import main as show_main

pytestmark = pytest.mark.train
ROOT = Path(__file__).parents[2]
Make = Callable[..., RunFolder]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def make(model: Path, tmp_path: Path) -> Make:
    """Freezes a run as the launcher does: `make("name", data={...})`."""

    def freeze(name: str, **groups: Any) -> RunFolder:
        file = tmp_path / "rows.jsonl"
        if not file.exists():
            tiny_rows(file, 40)
        data = {"name": "file", "source": "file", "path": str(file), "max_length": 64, "eval_fraction": 0.1}
        values = {"model": {"id": str(model)}, "store": {"root": str(tmp_path / "store")}} | groups
        config = derive(RunConfig.model_validate(values | {"data": data | groups.get("data", {})}))
        folder = RunFolder(tmp_path / name)
        folder.path.mkdir()
        folder.config_file.write_text(yaml.safe_dump(config.dump()))
        return folder

    return freeze


def lengths(assets: Assets, part: Any = "train") -> list[int]:
    return [len(ids) for ids in load(assets.data.path, part)["input_ids"]]


def test_assets_are_made_and_named(make: Make, model: Path) -> None:
    folder = make("run")
    folder.manifest_file.write_text('{"run_id": "run"}')
    assets = prepare(folder)
    assert folder.manifest() == {"run_id": "run", "assets": assets.dump()}
    assert (assets.model.source, assets.model.path) == ("folder", str(model))
    assert (assets.data.train_rows, assets.data.eval_rows, assets.data.sequences) == (36, 4, 36)
    assert sum(lengths(assets)) == assets.data.tokens
    train = load(assets.data.path, "train")
    assert train.column_names == ["input_ids", "labels"]
    learnt = [label for labels in train["labels"] for label in labels if label != -100]
    assert len(learnt) == assets.data.trained_tokens > 0
    counts = json.loads((Path(assets.data.path) / "data.json").read_text())
    assert counts["eval_tokens"] == sum(lengths(assets, "eval"))


def test_the_second_time_does_nothing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make("run")
    assets = prepare(folder)
    monkeypatch.setattr("trainer.prepare.resolve", None)
    monkeypatch.setattr("trainer.prepare.prepare_data", None)
    assert prepare(folder) == assets


def test_equal_inputs_are_found_and_others_made(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare(make("first"))
    assert prepare(make("longer", data={"max_length": 32})).data != first.data
    assert prepare(make("other seed", seed=7)).data != first.data
    monkeypatch.setattr("trainer.data.prepared._build", None)
    assert prepare(make("second", adapter={"r": 4})) == first


def test_two_stores_get_the_same_digests(make: Make, tmp_path: Path) -> None:
    other = prepare(make("other", store={"root": str(tmp_path / "elsewhere")}))
    assert other.data.digest == prepare(make("run")).data.digest
    assert Path(other.data.path).is_relative_to(tmp_path / "elsewhere")


def test_two_at_once_do_the_work_once(make: Make) -> None:
    folders = [make("one"), make("two")]
    command = [sys.executable, "-m", "trainer", "prepare"]
    started = [
        subprocess.Popen([*command, str(folder.path)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for folder in folders
    ]
    said = "".join(process.communicate(timeout=120)[1] for process in started)
    assert [process.returncode for process in started] == [0, 0], said
    assert said.count("tokenising 36 training rows") == 1
    assert folders[0].manifest() == folders[1].manifest()


def test_packing_fills_sequences_and_keeps_row_lengths(make: Make) -> None:
    plain, packed = prepare(make("plain")), prepare(make("packed", data={"packing": True}))
    assert packed.data.sequences < plain.data.sequences
    assert (packed.data.tokens, packed.data.trained_tokens) == (plain.data.tokens, plain.data.trained_tokens)
    train = load(packed.data.path, "train")
    assert train.column_names == ["input_ids", "labels", "seq_lengths"]
    assert [sum(pieces) for pieces in train["seq_lengths"]] == lengths(packed)
    assert sorted(length for pieces in train["seq_lengths"] for length in pieces) == sorted(lengths(plain))
    assert max(lengths(packed)) <= 64
    assert lengths(packed, "eval") == lengths(plain, "eval")
    whole = {tuple(ids) for ids in load(plain.data.path, "train")["input_ids"]}
    for sequence in train:
        start = 0
        for length in sequence["seq_lengths"]:
            assert tuple(sequence["input_ids"][start : start + length]) in whole
            assert sequence["labels"][start] == -100
            start += length


def test_trls_collator_keeps_packed_rows_apart(make: Make) -> None:
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    train = load(prepare(make("packed", data={"packing": True})).data.path, "train")
    batch = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)([train[0], train[1]])
    expected = [place for row in (train[0], train[1]) for length in row["seq_lengths"] for place in range(length)]
    assert batch["position_ids"].tolist() == [expected]
    assert batch["labels"].tolist() == [train[0]["labels"] + train[1]["labels"]]


def test_pretraining_learns_every_token(make: Make, tmp_path: Path) -> None:
    file = tmp_path / "text.jsonl"
    file.write_text('{"text": "list of names"}\n{"text": "sort the index"}\n')
    folder = make("run", data={"path": str(file), "eval_fraction": 0.0}, method={"objective": "pretrain"})
    assets = prepare(folder)
    assert assets.data.trained_tokens == assets.data.tokens - 2
    assert assets.data.eval_rows == 0
    assert load(assets.data.path, "eval") is None


def test_held_out_rows_of_their_own_file(make: Make, tmp_path: Path) -> None:
    held = tiny_rows(tmp_path / "held.jsonl", 5, seed=9)
    assets = prepare(make("run", data={"eval_path": str(held)}))
    assert (assets.data.train_rows, assets.data.eval_rows) == (40, 5)


def test_rows_with_nothing_left_are_dropped(make: Make, tmp_path: Path) -> None:
    tiny_rows(tmp_path / "rows.jsonl", 40)
    long = {"messages": [{"role": "user", "content": "list " * 70}, {"role": "assistant", "content": "key"}]}
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write(json.dumps(long) + "\n")
    assets = prepare(make("run", data={"eval_fraction": 0.0}))
    assert assets.data.train_rows == 40
    assert json.loads((Path(assets.data.path) / "data.json").read_text())["dropped_rows"] == 1


def fails(main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main([*arguments])
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return code, said.partition("error: ")[2]


def test_mistakes_have_words_and_no_traceback(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"messages": [{"role": "bob", "content": "x"}]}\n')
    code, said = fails(prepare_main, capsys, str(make("bad", data={"path": str(bad)}).path))
    assert (code, said) == (
        2,
        f'{bad} line 1: `messages[0].role` is "bob": allowed are system, user, assistant, tool; '
        "data.roles={NAME: ROLE} says what another name means\n",
    )
    code, said = fails(prepare_main, capsys, str(make("short", data={"max_length": 3}).path))
    assert code == 2
    assert "no row has a token to learn within data.max_length=3: raise data.max_length" in said
    code, said = fails(prepare_main, capsys, str(tmp_path / "nowhere"))
    assert (code, said) == (2, f"{tmp_path / 'nowhere'} is no run folder: it has no config.yaml\n")
    folder = make("away", model={"id": str(tmp_path / "no-model"), "source": "folder"})
    code, said = fails(prepare_main, capsys, str(folder.path))
    assert code == 5
    assert f"folder: there is no folder {tmp_path / 'no-model'}" in said


def test_rows_that_changed_since_the_freeze_are_refused(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make("run")
    tiny_rows(tmp_path / "rows.jsonl", 41)
    code, said = fails(prepare_main, capsys, str(folder.path))
    assert code == 2
    assert "the rows have changed since this run was frozen" in said
    assert "assets" not in folder.manifest()


def test_a_run_keeps_its_digests(make: Make, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tiny_llama(tmp_path / "copy", seed=1)
    folder = make("run", model={"id": str(copy)})
    before = prepare(folder)
    os.rename(copy, tmp_path / "gone")
    tiny_llama(copy, seed=2)
    os.rename(before.data.path, tmp_path / "data gone")
    code, said = fails(prepare_main, capsys, str(folder.path))
    assert code == 5
    assert "the weights of this run are gone from the store, and what takes their place differs" in said
    assert before.model.digest in said
    for path in copy.iterdir():
        path.unlink()
    copy.rmdir()
    os.rename(tmp_path / "gone", copy)
    assert prepare(folder) == before


def test_a_base_model_needs_a_template(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = tiny_llama(tmp_path / "base")
    (base / "chat_template.jinja").unlink()
    code, said = fails(prepare_main, capsys, str(make("none", model={"id": str(base)}).path))
    assert code == 2
    assert "this model has no chat template" in said
    template = "{% for m in messages %}{{ m.role + ':' + m.content + '<|im_end|>' }}{% endfor %}"
    assert prepare(make("given", model={"id": str(base), "chat_template": template})).data.trained_tokens > 0


def test_show_data_prints_each_token_with_its_label(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make("run")
    assert show_main([str(folder.path), "--json", "--rows", "2", "--row", "35"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["split"], shown["total"], [row["row"] for row in shown["rows"]]) == ("train", 36, [35])
    row = load(prepare(folder).data.path, "train")[35]
    assert [token["id"] for token in shown["rows"][0]["tokens"]] == row["input_ids"]
    assert [token["label"] for token in shown["rows"][0]["tokens"]] == row["labels"]
    assert shown["rows"][0]["text"].startswith("<|im_start|>user\n")
    assert show_main([str(folder.path), "--split", "eval"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("eval row 0 of 4: ")
    assert "\n       0       1    -100  '<|im_start|>'\n" in text
    assert any(line.startswith("* ") and line.endswith("'<|im_end|>'") for line in text.splitlines())
    code, said = fails(show_main, capsys, str(folder.path), "--row", "36")
    assert (code, said) == (2, "--row 36 --rows 1: the train split has rows 0 to 35\n")
