"""Files of a user's own: held to the schema, refused with file and line, and recipes taken from anywhere."""

import json
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from conf.schema.problems import ConfigProblems
from launcher.cli import main
from launcher.options import CONF
from launcher.resolve import resolve
from launcher.yaml_files import Loader, read_values

GOOD = ("model=smollm2_135m", "cluster=local")
RECIPE = "# @package _global_\n"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLURMWRIGHT_CONFIG_DIR", raising=False)


def write(folder: Path, name: str, text: str | bytes) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, str]]:
    """What `plan` says against a line; never a traceback."""
    assert main(["plan", "--json", *words]) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    found: list[dict[str, str]] = json.loads(captured.out)["problems"]
    return found


SITE = [
    # text of site/ours.yaml, line, field, a piece of the message
    ("name: ours\npartitoin: gpu\n", 2, "site.partitoin", "did you mean site.partition?"),
    ("name: ours\nexclusive: 5\n", 2, "site.exclusive", "true or false"),
    ("name: ours\n\ngpu_request: gress\n", 3, "site.gpu_request", "did you mean gres?"),
    ("container:\n  kind: docker\n", 2, "site.container.kind", "apptainer"),
    ("container: pyxis\n", 1, "site", "site.container is a set of fields"),
    ("environment: 5\n", 1, "site", "site.environment is a mapping"),
    ("environment:\n  A: 1\n", 2, "site.environment.A", "put it in quotes"),
    ("environment:\n  A.B: 1\n", 2, "site.environment.A.B", "put it in quotes"),
    ("environment:\n  1: x\n", 2, "site", "`1` is not read as text"),
    ("setup:\n  - a\n  - 3\n", 3, "site.setup", "item 2, 3, must be text"),
    ("setup:\n  a: b\n", 1, "site", "site.setup is a list"),
    ("name: ours\nsetup: ['${A%:*}']\n", 2, "site", "script of your own"),
    ("name: ours\npartition: ${oc.env:USER}\n", 2, "site", "interpolations are not resolved"),
    ("name: [\n", 2, "site", "no YAML"),
    ("a: b: c\n", 1, "site", "no YAML"),
    ("name: ours\ncontainer:\n\tkind: pyxis\n", 3, "site", "a tab indents this line"),
    ("mem: 1G\nname: a\nmem: 2G\n", 3, "site", "mem stands twice, in lines 1 and 3"),
    ("container:\n  kind: pyxis\n  kind: none\n", 3, "site", "kind stands twice, in lines 2 and 3"),
    ("", 1, "site", "the file says nothing"),
    ("# only words\n", 1, "site", "the file says nothing"),
    ("- name\n", 1, "site", "the file holds a list"),
    ("ours\n", 1, "site", "the file holds a single value"),
    ("name: a\n---\nname: b\n", 2, "site", "a second document"),
    (b"name: ours\nmail: j\xfcrgen\n", 2, "site", "not UTF-8"),
    ("name: ours\n".encode("utf-16"), 1, "site", "not UTF-8"),
    ("name: ours\n\0", 1, "site", "no YAML"),
    ("name: ours\nadapter:\n  r: 4\n", 2, "site.adapter", "adapter is not part of site"),
    ("learning_rate: 1\n", 1, "site.learning_rate", "method.learning_rate"),
    ("adapter.r: 4\n", 1, "site", "this file cannot set adapter.r"),
    ("container.kind: pyxis\n", 1, "site", "write `container:` and under it `kind:`"),
    ("on: 1\n", 1, "site", "`on` is not read as text"),
    ("name: !!python/name:os.x y\n", 1, "site", "the tag"),
    ("name: ours\nsrun: &a [*a]\n", 2, "site", "alias"),
    ("defaults:\n  - override /gpu: h100\n", 2, "site", "write `- override /gpu@_global_.gpu: h100`"),
    ("defaults:\n  - override /gpu@_global_.gpu: h1000\n", 2, "site", "did you mean h100"),
    ("defaults:\n  - defalt\nname: ours\n", 2, "site", "did you mean default?"),
    ("defaults: default\n", 1, "site", "defaults is a list"),
    ("# mine\n# @package _global_\nname: ours\n", 2, "site", "in the first line of a file alone"),
    ("# @package _global_ x\nname: ours\n", 1, "site", "is no header"),
]


@pytest.mark.parametrize(("text", "line", "field", "says"), SITE)
def test_an_option_file_is_refused_with_file_and_line(
    text: str | bytes, line: int, field: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, "site/ours.yaml", text)
    problems = refused(capsys, *GOOD, "site=ours", "--config-dir", str(tmp_path))
    assert [problem["field"] for problem in problems] == [field]
    assert says in problems[0]["message"]
    assert problems[0]["message"].endswith(f"({file}:{line})")


RECIPES = [
    # text of a recipe below its header, line, field, a piece of the message
    ("adapter.r: 4\n", 2, "recipe", "write `adapter:` and under it `r:`"),
    ("adapter: 4\n", 2, "recipe", "adapter is a set of fields"),
    ("data:\n", 2, "recipe", "data is a set of fields"),
    ("adaptor: {r: 4}\n", 2, "adaptor", "did you mean adapter?"),
    ("adapter:\n  rr: 4\n", 3, "adapter.rr", "did you mean adapter.r?"),
    ("adapter:\n  r: 4\n  kind: lorra\n", 4, "adapter.kind", "did you mean lora or adalora?"),
    ("method:\n  learning_rate: 2e-5x\n", 3, "method.learning_rate", "must be a number"),
    ("cluster:\n  time: 10:00:00\n", 3, "cluster.time", "put it in quotes"),
    ("batch:\n  global: 7\n  micro: 2\n", 3, "batch.global", "use 6 or 8"),
    ("defaults:\n  - override /modell: x\n", 3, "recipe", "did you mean model?"),
    ("defaults:\n  - override /model: lama3_8b\n", 3, "recipe", "did you mean llama3_8b"),
    ("defaults:\n  - override model: llama3_8b\n", 3, "recipe", "write `- override /model: llama3_8b`"),
    ("defaults:\n  - /model: llama3_8b\n", 3, "recipe", "write `- override /model: llama3_8b`"),
    ("defaults:\n  - override /cluster: 2x8xh100\n", 3, "recipe", "choose 8xh100 here"),
    (
        "data:\n  sets:\n    - path: a\n    - pth: b\n",
        5,
        "data.sets",
        "item 2, pth is no field of it; did you mean path?",
    ),
    ("data:\n  sets:\n    - path: a\n      skip: x\n", 5, "data.sets", "item 1, skip=x must be a whole number"),
    ("data:\n  sets: [{source: hubb}]\n", 3, "data.sets", "did you mean hub?"),
    ("data:\n  sets:\n    - a.jsonl\n", 4, "data.sets", "item 1, a.jsonl, must be a set of fields"),
    ("data:\n  sets: {path: x}\n", 3, "recipe", "data.sets is a list"),
    ("data:\n  sets:\n    - roles: {a: 5}\n", 4, "data.sets", "item 1, roles.a=5 must be text"),
]


@pytest.mark.parametrize("by_path", [False, True])
@pytest.mark.parametrize(("text", "line", "field", "says"), RECIPES)
def test_a_recipe_is_refused_with_file_and_line(
    text: str, line: int, field: str, says: str, by_path: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, "recipe/ours.yaml", RECIPE + text)
    word = f"recipe={file}" if by_path else "recipe=ours"
    flags = [] if by_path else ["--config-dir", str(tmp_path)]
    problems = refused(capsys, *GOOD, word, *flags)
    assert [problem["field"] for problem in problems] == [field]
    assert says in problems[0]["message"]
    assert problems[0]["message"].endswith(f"({file}:{line})")


def test_every_mistake_of_all_files_and_the_line_comes_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "site/ours.yaml", "partitoin: x\nmem: 5\n")
    write(tmp_path, "recipe/ours.yaml", f"{RECIPE}adapter:\n  rr: 4\n  bits: 3\n")
    problems = refused(capsys, *GOOD, "recipe=ours", "site=ours", "seed=x", "--config-dir", str(tmp_path))
    assert [problem["field"] for problem in problems] == [
        "adapter.bits", "adapter.rr", "seed", "site.mem", "site.partitoin",
    ]  # fmt: skip


def test_files_that_a_file_chooses_are_looked_at_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inner = write(tmp_path, "site/ours.yaml", "name: a\nname: b\n")
    outer = write(
        tmp_path, "recipe/ours.yaml", f"{RECIPE}defaults:\n  - override /site: ours\nadapter:\n  r: 1\n  r: 2\n"
    )
    problems = refused(capsys, *GOOD, "recipe=ours", "--config-dir", str(tmp_path))
    assert [problem["message"].rpartition("(")[2] for problem in problems] == [f"{outer}:6)", f"{inner}:2)"]


def test_hydra_is_not_given_a_file_that_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "site/ours.yaml", "name: a\nname: b\n")
    assert main(["--cfg", "job", *GOOD, "site=ours", "--config-dir", str(tmp_path)]) == 2
    assert "name stands twice" in capsys.readouterr().err


def test_a_folder_that_is_no_group(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "cluters/ours.yaml", "name: ours\n")
    write(tmp_path, ".hidden/x.yaml", "a: 1\n")
    write(tmp_path, "notes/x.txt", "no options\n")
    (problem,) = refused(capsys, *GOOD, "--config-dir", str(tmp_path))
    assert problem["field"] == "cluters"
    assert problem["message"] == f"{tmp_path / 'cluters'} is no group of options: did you mean cluster?"


def test_files_that_would_have_no_effect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "site/default.yaml", "partition: gpu\n")
    write(tmp_path, "site/ours.yml", "partition: gpu\n")
    write(tmp_path, "adapter/lora.yaml", (CONF / "adapter" / "lora.yaml").read_bytes())
    shadowed, unread = refused(capsys, *GOOD, "--config-dir", str(tmp_path))
    assert "a shipped option has the same name" in shadowed["message"]
    assert "rename it" in unread["message"]


def test_the_shipped_folder_is_a_config_dir_like_any(tmp_path: Path) -> None:
    assert resolve(GOOD, CONF) == resolve(GOOD)


def test_numbers_are_numbers(tmp_path: Path) -> None:
    write(tmp_path, "ours.yaml", f"{RECIPE}method:\n  learning_rate: 2e-5\n  epsilon: 1E-7\n  decay: 1.e-1\n")
    method = resolve([*GOOD, "recipe=ours.yaml"]).config.method
    assert (method.learning_rate, method.epsilon, method.decay) == (2e-5, 1e-7, 0.1)


@pytest.mark.parametrize(
    "text",
    [
        "2e-5", "2e-5x", "2e5e", "1E4", "1e5", "-1.5e+3", "1.", ".5", "1_000", "0x1f", "017", "0o17", "1:30",
        "yes", "no", "on", "null",
        "~", "2001-01-01", "2001-01-01 10:00:00", "1.2.3", "e5", "1e", ".inf", "-.INF", "+5", "5e", "0b1", "1__0",
    ],
)  # fmt: skip
def test_scalars_are_read_as_hydra_reads_them(text: str, tmp_path: Path) -> None:
    mine = yaml.load(f"a: {text}", Loader=Loader)["a"]
    (tmp_path / "x.yaml").write_text(f"a: {text}\n")
    theirs = OmegaConf.to_container(OmegaConf.load(tmp_path / "x.yaml"))
    assert isinstance(theirs, dict)
    assert (type(mine), mine) == (type(theirs["a"]), theirs["a"])


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda path: str(path.relative_to(CONF)))
def test_shipped_files_are_read_as_hydra_reads_them(path: Path) -> None:
    theirs = OmegaConf.to_container(OmegaConf.load(path))
    assert read_values(path) == theirs


def test_a_recipe_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        f"{RECIPE}# Mine.\ndefaults:\n  - override /model: llama3_8b\n  - override /cluster: 8xh100\nadapter:\n  r: 4\n"
    )
    file = write(tmp_path, "far away/it's mine.yaml", text)
    monkeypatch.chdir(file.parent)
    relative = resolve(["recipe=it's mine.yaml"])
    assert relative.config.adapter.r == 4
    assert (relative.config.model.name, relative.config.world_size, relative.config.gpu.name) == (
        "llama3_8b",
        8,
        "h100",
    )
    monkeypatch.chdir("/")
    assert resolve(relative.overrides).composed == relative.composed
    assert resolve([f"+recipe={file}"]).composed == relative.composed
    assert resolve([f"recipe={file}", "adapter.r=2", "model=llama3_70b"]).config.adapter.r == 2
    assert resolve([f"recipe={file}", "model=llama3_70b"]).config.model.name == "llama3_70b"


def test_a_recipe_that_was_edited_is_read_anew(tmp_path: Path) -> None:
    file = write(tmp_path, "ours.yaml", f"{RECIPE}adapter:\n  r: 4\n")
    assert resolve([*GOOD, f"recipe={file}"]).config.adapter.r == 4
    write(tmp_path, "ours.yaml", f"{RECIPE}adapter:\n  r: 5\n")
    assert resolve([*GOOD, f"recipe={file}"]).config.adapter.r == 5


def test_a_recipe_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "ours.yaml", f"{RECIPE}adapter:\n  r: 4\n")
    (problem,) = refused(capsys, "recipe=our.yaml")
    assert problem["field"] == "recipe"
    assert f"there is no file {tmp_path / 'our.yaml'}; did you mean ours.yaml?" in problem["message"]


def test_hydra_shows_a_recipe_from_anywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, "ours.yaml", f"{RECIPE}adapter:\n  r: 4321\n")
    assert main(["--cfg", "job", *GOOD, f"recipe={file}"]) == 0
    assert "r: 4321" in capsys.readouterr().out


def test_an_item_of_a_list_typed_on_the_line() -> None:
    with pytest.raises(ConfigProblems) as caught:
        resolve([*GOOD, "data=sets", "data.sets=[{path: a.jsonl}, {pth: x, limit: 0}]"])
    said = [problem.message for problem in caught.value.problems if problem.field == "data.sets"]
    assert said[:2] == [
        "data.sets: item 2, limit=0 must be greater than 0",
        "data.sets: item 2, pth is no field of it; did you mean path?",
    ]


@pytest.mark.parametrize(
    ("word", "field", "says"),
    [
        ("adaptor=lora", "adaptor", "did you mean adapter?"),
        ("modell=x", "modell", "did you mean model?"),
        ("adapter=qlorra", "adapter", "did you mean qlora"),
        ("adapter.droput=0.1", "adapter.droput", "did you mean adapter.dropout?"),
        ("method.schedule=cosin", "method.schedule", "did you mean cosine"),
        ("data.sets=[{source: hubb}]", "data.sets", "did you mean hub?"),
    ],
)
def test_typos_of_groups_options_fields_and_enumerations(
    word: str, field: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (problem,) = refused(capsys, *GOOD, word)
    assert problem["field"] == field
    assert says in problem["message"]


def test_numbers_that_need_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = refused(capsys, *GOOD, "model.architecture.kv_lora_rank=8", "model.architecture.v_head_dim=4")
    assert [problem["field"] for problem in found] == ["model.architecture"]
    assert "kv_lora_rank" in found[0]["message"] and "qk_rope_head_dim" in found[0]["message"]
    file = write(tmp_path, "ours.yaml", f"{RECIPE}model:\n  architecture:\n    kv_lora_rank: 8\n")
    assert refused(capsys, *GOOD, f"recipe={file}")[0]["message"].endswith(f"({file}:3)")
