"""Sets of rows: every type of file, parts of a set, several sets, held-out sets, streaming, and the hub's datasets."""

import json
from pathlib import Path
from typing import Any

import pytest

from conf.schema.run import RunConfig
from trainer.data.files import values
from trainer.data.rows import Row, RowProblems
from trainer.data.sets import RowsUnreadable, commits, read_set, stream, whole
from trainer.errors import PreparationError

VALUES = [{"text": f"row {number}", "more": number} for number in range(10)]


def config(data: dict[str, Any], **groups: Any) -> RunConfig:
    values = {"source": "file", "format": "text", "eval_fraction": 0.0} | data
    return RunConfig.model_validate({"data": values} | groups)


def texts(data: dict[str, Any]) -> list[str | None]:
    made = config(data)
    return [row.text for row in read_set(made.data, made, {})]


def numbers(data: dict[str, Any]) -> list[int]:
    return [int(str(text).removeprefix("row ")) for text in texts(data)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(value) + "\n" for value in VALUES))
    return path


def written(folder: Path, kind: str) -> Path:
    """VALUES as a file of a kind."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / f"rows.{kind.partition(' ')[0]}"
    table = pa.Table.from_pylist(VALUES)
    if kind == "parquet":
        pq.write_table(table, path, row_group_size=3)
    elif kind == "arrow":
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=4)
    elif kind == "arrow stream":
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=4)
    elif kind == "csv":
        path.write_bytes(b"\xef\xbb\xbftext,more\r\n" + b"".join(b'"row %d",%d\r\n' % (n, n) for n in range(10)))
    elif kind == "txt":
        path.write_text("".join(f"row {number}\n\n" for number in range(10)))
    else:
        path.write_text(json.dumps(VALUES) if kind == "json" else "".join(json.dumps(v) + "\n" for v in VALUES))
    return path


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet", "arrow", "arrow stream", "csv", "txt"])
def test_every_type_of_file_gives_the_same_rows(tmp_path: Path, kind: str) -> None:
    assert numbers({"path": str(written(tmp_path, kind))}) == list(range(10))


def test_nulls_of_a_table_are_keys_that_are_not_there(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    turns = [{"role": "user", "content": "q", "name": None}, {"role": "assistant", "content": "a", "name": "x"}]
    pq.write_table(pa.Table.from_pylist([{"messages": turns, "system": None}]), tmp_path / "a.parquet")
    ((_, value),) = values(tmp_path / "a.parquet")
    assert value == {"messages": [{"role": "user", "content": "q"}, turns[1]]}
    made = config({"path": str(tmp_path / "a.parquet"), "format": "chat"})
    (row,) = read_set(made.data, made, {})
    assert row.messages == ({"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "name": "x"})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.parquet", b"no", "a.parquet: is not Parquet that can be read"),
        ("a.arrow", b"ARROW1no", "a.arrow: is not Arrow that can be read"),
        ("a.csv", b"text,more\na\n", "a.csv row 1: has not as many values as the first line has names"),
        ("a.csv", b"text\n\xff\n", "a.csv: is not UTF-8"),
        ("a.txt", b"a\n\xff\n", "a.txt line 2: is not UTF-8 (byte 1)"),
        ("a.csv", b"other\nb\n", 'a.csv row 1: has no key `text`, which data.format=text reads (it has "other")'),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RowProblems) as caught:
        texts({"path": str(tmp_path / name)})
    assert message in str(caught.value)


def test_folders_and_patterns(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"text": name}) + "\n")
    assert texts({"path": str(tmp_path)}) == ["a", "b"]
    assert texts({"path": str(tmp_path / "*.jsonl")}) == ["a", "b"]
    assert texts({"path": str(tmp_path), "files": ["b.jsonl", "a*"]}) == ["b", "a"]
    (tmp_path / "notes.txt").write_text("n\n")
    assert texts({"path": str(tmp_path), "files": ["*.txt"]}) == ["n"]
    for path, message in (
        (tmp_path, r"has files of several kinds \(.jsonl, .txt\): name one kind with data.files=\['\*.jsonl'\]"),
        (tmp_path / "*.csv", "no file is named like"),
        (tmp_path / "none.jsonl", "there is no file"),
    ):
        with pytest.raises(RowsUnreadable, match=message):
            texts({"path": str(path)})


@pytest.mark.train
def test_a_folder_that_datasets_has_saved(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    saved = Dataset.from_list(VALUES)
    saved.save_to_disk(str(tmp_path / "one"), num_shards=3)
    assert numbers({"path": str(tmp_path / "one")}) == list(range(10))
    DatasetDict({"train": saved, "test": saved.select(range(2))}).save_to_disk(str(tmp_path / "two"))
    assert numbers({"path": str(tmp_path / "two"), "split": "test"}) == [0, 1]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"skip": 2}, [2, 3, 4, 5, 6, 7, 8, 9]),
        ({"limit": 2}, [0, 1]),
        ({"skip": 8, "limit": 5}, [8, 9]),
        ({"split": "train[:30%]"}, [0, 1, 2]),
        ({"split": "train[7:]"}, [7, 8, 9]),
        ({"split": "train[2:4]"}, [2, 3]),
    ],
)
def test_parts_of_a_set(file: Path, part: dict[str, Any], expected: list[int]) -> None:
    assert numbers({"path": str(file)} | part) == expected


def test_shards_are_shuffled_parts_that_make_up_the_whole(file: Path) -> None:
    parts = [numbers({"path": str(file), "shards": 3, "shard": shard}) for shard in range(3)]
    assert [len(part) for part in parts] == [3, 3, 4]
    assert sorted(number for part in parts for number in part) == list(range(10))
    assert parts[0] != [0, 1, 2]
    assert parts[0] == numbers({"path": str(file), "shards": 3, "shard": 0})
    with pytest.raises(RowsUnreadable, match=r"data.shard=3 is none of data.shards=3: they are 0 to 2"):
        numbers({"path": str(file), "shards": 3, "shard": 3})


def test_a_slice_that_cannot_be_read(file: Path) -> None:
    with pytest.raises(RowsUnreadable, match=r"data.split=train\[-3:\] is no slice of files"):
        numbers({"path": str(file), "split": "train[-3:]"})


def test_sets_follow_each_other_each_in_its_own_format(tmp_path: Path, file: Path) -> None:
    chat = tmp_path / "chat.json"
    chat.write_text(json.dumps([{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}]))
    sets = [{"path": str(file), "format": "text", "limit": 2}, {"path": str(chat)}]
    train, held = whole(config({"source": "sets", "sets": sets}), {})
    assert [row.text for row in train] == ["row 0", "row 1", None]
    assert train[2].messages[1] == {"role": "assistant", "content": "a"}
    assert held == []


def test_held_out_rows_are_those_that_are_named(tmp_path: Path, file: Path) -> None:
    other = tmp_path / "held.jsonl"
    other.write_text('{"text": "held"}\n{"text": "row 3"}\n')
    for named in ({"eval_path": str(other)}, {"eval_sets": [{"path": str(other), "format": "text"}]}):
        train, held = whole(config({"path": str(file), "eval_fraction": 0.5, "skip": 1} | named), {})
        assert (len(train), [row.text for row in held]) == (9, ["held", "row 3"])
        train, held = whole(config({"path": str(file), "deduplicate": True} | named), {})
        assert (len(train), [row.text for row in held]) == (10, ["held"])
    train, held = whole(config({"path": str(file), "eval_rows": 3}), {})
    assert (len(train), len(held)) == (7, 3)


def test_equal_rows_are_left_out_but_for_the_first(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"text": "{text}"}}\n' for text in "abacab"))
    train, _ = whole(config({"path": str(path), "deduplicate": True}), {})
    assert [row.text for row in train] == ["a", "b", "c"]
    assert [row.text for row in stream(config({"path": str(path), "deduplicate": True}), {}, [])] == ["a", "b", "c"]


def test_a_stream_reads_no_further_than_it_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(value) + "\n" for value in VALUES) + "no JSON\n")
    rows = stream(config({"path": str(path)}), {}, [])
    assert [next(rows).text for _ in range(10)] == [value["text"] for value in VALUES]
    with pytest.raises(RowProblems, match="line 11: is not JSON"):
        next(rows)


def test_a_stream_holds_out_rows_on_the_way(file: Path) -> None:
    held: list[Row] = []
    train = list(stream(config({"path": str(file), "eval_rows": 2}), {}, held))
    assert ([row.text for row in held], len(train)) == (["row 0", "row 1"], 8)
    drawn: list[Row] = []
    rest = list(stream(config({"path": str(file), "eval_fraction": 0.5}), {}, drawn))
    assert 0 < len(drawn) < 10
    assert len(rest) + len(drawn) == 10
    again: list[Row] = []
    assert list(stream(config({"path": str(file), "eval_fraction": 0.5}), {}, again)) == rest
    assert again == drawn


class Hub:
    """Stands for the two doors to the hub: its client, and the loading of a dataset."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> None:
        self.asked: list[dict[str, Any]] = []
        self.error = error
        self.offline: list[bool] = []
        monkeypatch.setattr("huggingface_hub.HfApi", lambda **options: self)
        monkeypatch.setattr("datasets.load_dataset", self.load)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)

    def dataset_info(self, dataset: str, revision: str | None, timeout: float) -> Any:
        if self.error is not None:
            raise self.error
        return type("Info", (), {"sha": f"c0ffee-{revision}"})

    def load(self, dataset: str, **options: Any) -> list[dict[str, Any]]:
        import datasets

        self.offline.append(datasets.config.HF_HUB_OFFLINE)
        self.asked.append({"dataset": dataset} | options)
        if self.error is not None:
            raise self.error
        return VALUES[:3]


DATASET = {"source": "hub", "path": "owner/name", "subset": "en", "split": "train[:3]", "files": ["a.parquet"]}


@pytest.mark.train
def test_a_dataset_of_the_hub_is_asked_for_as_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(monkeypatch)
    made = config(DATASET | {"revision": "v1", "limit": 2})
    known = commits(made)
    assert known == {"owner/name@v1": "c0ffee-v1"}
    assert [row.text for row in read_set(made.data, made, known)] == ["row 0", "row 1"]
    assert hub.asked == [
        {"dataset": "owner/name", "name": "en", "split": "train[:3]", "revision": "c0ffee-v1",
         "data_files": ["a.parquet"], "streaming": False, "token": None}
    ]  # fmt: skip
    assert hub.offline == [False]
    assert next(stream(made, known, [])).text == "row 0"
    assert hub.asked[-1]["streaming"] is True


@pytest.mark.train
def test_offline_the_hub_is_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(monkeypatch, ConnectionError("not in the cache"))
    made = config(DATASET, offline=True)
    assert commits(made) == {}
    with pytest.raises(PreparationError, match="dataset owner/name cannot be had: the hub was not asked") as caught:
        read_set(made.data, made, {})
    assert caught.value.exit_code == 5
    assert hub.offline == [True]
    with pytest.raises(PreparationError, match=r"data.streaming reads from the hub"):
        next(stream(made, {}, []))


@pytest.mark.train
def test_a_hub_that_does_not_answer_leaves_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(monkeypatch, ConnectionError("no route"))
    made = config(DATASET)
    assert commits(made) == {}
    hub.error = None
    assert len(read_set(made.data, made, {})) == 3
    assert hub.offline == [True]
