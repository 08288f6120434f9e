"""From words to a checked config: everything wrong in one report, files of the user held to the same schema."""

from pathlib import Path

import pytest

from conf.schema.problems import ConfigProblems, Problem
from launcher.resolve import resolve

GOOD = ("model=smollm2_135m", "cluster=local")


def problems(*words: str, config_dir: Path | None = None) -> list[Problem]:
    with pytest.raises(ConfigProblems) as caught:
        resolve(words, config_dir)
    return caught.value.problems


def messages(*words: str, config_dir: Path | None = None) -> dict[str, str]:
    return {problem.field: problem.message for problem in problems(*words, config_dir=config_dir)}


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_the_smallest_complete_command() -> None:
    resolved = resolve(["+model=llama3_70b", "+cluster=8xh100"])
    config = resolved.config
    assert (config.world_size, config.gpu.type, config.precision.compute) == (8, "h100", "bf16")
    assert config.parallel.strategy == "fsdp2"
    assert config.batch.global_ == 8
    assert resolved.overrides == ("model=llama3_70b", "cluster=8xh100")


def test_a_wrong_group_option_key_and_type_come_together() -> None:
    found = messages("+modell=x", "adapter.rr=4", "model=lama3_8b", "adapter.r=big", "cluster=local")
    assert list(found) == ["adapter.r", "adapter.rr", "model", "modell"]
    assert "whole number" in found["adapter.r"]
    assert "did you mean adapter.r?" in found["adapter.rr"]
    assert "llama3_8b" in found["model"]
    assert "did you mean model?" in found["modell"]


def test_an_option_a_key_a_type_and_a_rule_give_four_problems() -> None:
    found = problems(*GOOD, "adapter=lorra", "adaptor.r=4", "seed=x", "batch.global=7", "batch.micro=2")
    assert [problem.field for problem in found] == ["adapter", "adaptor.r", "batch.global", "seed"]
    assert {problem.rule for problem in found} == {"schema", "batch-arithmetic"}


def test_what_must_be_chosen_is_asked_for() -> None:
    found = messages("adapter.r=8")
    assert set(found) == {"cluster", "model"}
    assert "add cluster=NAME" in found["cluster"]


def test_rules_do_not_judge_what_was_set_aside() -> None:
    assert set(messages("model=smollm2_135m", "cluster=8xh20", "batch.global=7", "batch.micro=2")) == {"cluster"}
    assert set(
        messages("model=smollm2_135m", "cluster=8xh20", "model.attention=flash_attention_2", "precision.compute=fp32")
    ) == {"cluster"}
    assert set(messages(*GOOD, "cluster.nodes=many", "batch.global=7", "batch.micro=2")) == {"cluster.nodes"}


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("adapter.r=0", "must be greater than 0"),
        ("adapter.r=1.5", "whole number"),
        ("adapter.r=null", "whole number"),
        ("adapter.dropout=1", "less than 1"),
        ("adapter.bits=5", "4, 8, or null"),
        ("precision.compute=bf61", "did you mean bf16?"),
        ("offline=yes", "true or false"),
        ("adapter.targets=3", "must be a list"),
        ("adapter.targets=[q_proj,3]", "item 2"),
        ("run.root=", "must not be empty"),
        ("cluster.time=soon", "hours:minutes:seconds"),
        ("site.sbatch.nice=[1]", "site.sbatch.nice=[1]"),
        ("site.environment={A: 1}", "put it in quotes"),
        ("method.learning_rate=inf", "finite"),
        ("name=../x", "neither dot nor dash"),
        ("name=.hidden", "neither dot nor dash"),
        ("name=-rf", "neither dot nor dash"),
        ("name=a b", "letters, digits"),
        ("name=$(x)", "letters, digits"),
        ("name=a\nb", "letters, digits"),
        (f"name={'a' * 121}", "120"),
        ("model.name=a/b", "letters, digits"),
        ("after=../x", "Run id"),
        ("data.path=???", "add data.path=VALUE"),
        ("data.path=x.jsonl", "add data=file"),
    ],
)
def test_a_wrong_value_names_field_value_and_what_is_allowed(word: str, says: str) -> None:
    found = messages(*GOOD, word)
    assert len(found) == 1
    (field, message), *_ = found.items()
    assert word.startswith(field.partition(".")[0])
    assert says in message


def test_single_fields_are_set_where_nothing_was() -> None:
    config = resolve([*GOOD, "site.sbatch.nice=5", "site.environment.X=$(x)", "model.wheel.file=y"]).config
    assert config.site.sbatch == {"nice": 5}
    assert config.site.environment == {"X": "$(x)"}
    assert config.model.wheel is not None and config.model.wheel.file == "y"


def test_a_group_that_lacks_a_part_says_which() -> None:
    assert (
        "add model.wheel.requirement=VALUE"
        in messages("model=llama3_8b", "cluster=local", "model.wheel.file=y")["model.wheel.requirement"]
    )


def test_the_last_value_wins_and_values_beat_options() -> None:
    config = resolve([*GOOD, "adapter.learning_rate=1", "adapter.r=4", "adapter.r=8", "adapter=full"]).config
    assert (config.adapter.r, config.adapter.kind, config.adapter.learning_rate) == (8, "full", 1.0)


def test_warnings_do_not_stop_a_command() -> None:
    (warning,) = resolve([*GOOD, "precision.compute=bf16"]).warnings
    assert (warning.rule, warning.warning) == ("bf16-device", True)


def test_options_of_ones_own(tmp_path: Path) -> None:
    write(tmp_path, "site/ours.yaml", "name: ours\npartition: gpu\nsetup: ['export A=${HOME}/b']\n")
    write(
        tmp_path,
        "cluster/ours.yaml",
        "defaults:\n  - override /gpu@_global_.gpu: h100\n  - override /site@_global_.site: ours\nname: ours\n",
    )
    config = resolve(["model=smollm2_135m", "cluster=ours"], tmp_path).config
    assert (config.site.partition, config.gpu.name) == ("gpu", "h100")
    assert config.site.setup == ["export A=${HOME}/b"]


def test_a_wrong_key_in_a_file_names_file_and_line(tmp_path: Path) -> None:
    file = write(tmp_path, "site/ours.yaml", "name: ours\npartitoin: gpu\ncontainer:\n  kind: docker\n")
    found = messages(*GOOD, "site=ours", config_dir=tmp_path)
    assert "did you mean site.partition?" in found["site.partitoin"]
    assert found["site.partitoin"].endswith(f"({file}:2)")
    assert found["site.container.kind"].endswith(f"({file}:4)")


def test_a_file_spells_fields_as_people_do(tmp_path: Path) -> None:
    write(tmp_path, "recipe/small.yaml", "# @package _global_\nbatch:\n  global_: 8\n")
    found = messages(*GOOD, "recipe=small", config_dir=tmp_path)
    assert "did you mean batch.global?" in found["batch.global_"]


def test_a_wrong_value_on_the_line_names_no_file(tmp_path: Path) -> None:
    write(tmp_path, "site/ours.yaml", "name: ours\nmem: 100\n")
    found = messages(*GOOD, "site=ours", "site.exclusive=5", config_dir=tmp_path)
    assert "ours.yaml:2" in found["site.mem"]
    assert "yaml" not in found["site.exclusive"]


@pytest.mark.parametrize(
    "text", ["name: [", "defaults:\n  - override /gpu: h100\nname: ours\n", "setup: ['${A%:*}']\n"]
)
def test_a_file_that_cannot_be_composed_is_named(text: str, tmp_path: Path) -> None:
    file = write(tmp_path, "site/ours.yaml", text)
    found = messages(*GOOD, "site=ours", "adapter.r=big", config_dir=tmp_path)
    assert str(file) in found["site"]
    assert "adapter.r" in found


def test_a_recipe_can_be_a_whole_experiment(tmp_path: Path) -> None:
    write(
        tmp_path,
        "recipe/small.yaml",
        "# @package _global_\ndefaults:\n  - override /model: smollm2_135m\n  - override /cluster: local\n"
        "adapter:\n  r: 4\n",
    )
    assert resolve(["recipe=small"], tmp_path).config.adapter.r == 4
    assert resolve(["recipe=small", "adapter.r=2"], tmp_path).config.adapter.r == 2


def test_a_recipe_without_its_first_line_is_told_so(tmp_path: Path) -> None:
    write(tmp_path, "recipe/small.yaml", "adapter:\n  r: 4\n")
    assert "@package _global_" in messages(*GOOD, "recipe=small", config_dir=tmp_path)["recipe"]


@pytest.mark.parametrize(
    "word",
    [
        "site.environment.SOMETHING=hf_abcdefghijklmnopqrstuvwxyz",
        "site.sbatch.comment=sk-abcdefghijklmnopqrstuvwxyz",
        "site.setup=['export HF_TOKEN=abcdefghijkl']",
        "site.environment.HF_TOKEN=x",
    ],
)
def test_a_secret_is_refused_and_not_repeated(word: str) -> None:
    (problem,) = [problem for problem in problems(*GOOD, word) if not problem.warning]
    assert "secret" in problem.message
    assert word.rpartition("=")[2].strip("']") not in problem.message.split()


@pytest.mark.parametrize(
    "word", ["site.environment.TOKENIZERS_PARALLELISM=false", "site.setup=['export HF_TOKEN=$(cat ~/.token)']"]
)
def test_what_is_no_secret_passes(word: str) -> None:
    assert resolve([*GOOD, word])


@pytest.mark.parametrize("path", ["~nobody-of-that-name/x.jsonl", "x" * 5000 + ".jsonl", "a\nb.jsonl", "$(x)/`y`.json"])
def test_a_hostile_path_is_only_a_file_that_is_not_there(path: str) -> None:
    assert "there is no file" in messages(*GOOD, "data=file", f"data.path={path}")["data.path"]


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path, "rows.jsonl", "{}\n")
    monkeypatch.setattr("os.access", lambda *_: False)  # root may read everything
    assert "permissions" in messages(*GOOD, "data=file", f"data.path={file}")["data.path"]
