"""Whatever validates also freezes, reloads and validates to the same config and digests, whatever text is in it."""

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conf.folder import RunFolder
from conf.schema.identity import identity_digest
from conf.schema.problems import ConfigProblems
from launcher.freeze import dump_yaml
from launcher.manifest import config_digest
from launcher.overrides import Value, check
from launcher.resolve import resolve

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
PLAIN = st.from_regex(r"[A-Za-z0-9_./:@%+-]{1,20}", fullmatch=True)
WORDS = st.one_of(
    st.sampled_from(["adapter=full", "adapter=qlora", "+method=pretrain", "parallel=zero2", "tracking=none"]),
    st.sampled_from(["cluster=2x8xh100", "+cluster=local", "cluster=4xh100", "model=llama3_8b", "model=hf"]),
    st.integers(-2, 200).map(lambda value: f"adapter.r={value}"),
    st.integers(0, 64).map(lambda value: f"batch.global={value}"),
    st.floats(allow_nan=True, allow_infinity=True).map(lambda value: f"method.learning_rate={value}"),
    st.floats(1e-9, 1).map(lambda value: f"adapter.learning_rate={value}"),
    st.floats(-1, 2).map(lambda value: f"adapter.dropout={value}"),
    st.lists(PLAIN, max_size=3).map(lambda values: f"adapter.targets=[{','.join(values)}]"),
    TEXT.map(lambda value: f"model.chat_template={value}"),
    TEXT.map(lambda value: f"model.id={value}"),
    TEXT.map(lambda value: f"name={value}"),
    TEXT.map(lambda value: f"site.environment.X={value}"),
    PLAIN.map(lambda value: f"site.account={value}"),
    TEXT.map(lambda value: f"{value}=1"),
    TEXT,
)


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(WORDS, max_size=5))
def test_any_line_is_refused_with_problems_or_freezes_exactly(words: list[str]) -> None:
    try:
        config = resolve(["model=smollm2_135m", "cluster=8xh100", *words]).config
    except ConfigProblems as error:
        assert error.problems and all(problem.message for problem in error.problems)
        return
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder(Path(place))
        folder.config_file.write_text(dump_yaml(config.dump()), encoding="utf-8")
        again = folder.config()
    assert again == config
    assert (config_digest(again), identity_digest(again)) == (config_digest(config), identity_digest(config))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(TEXT)
def test_any_text_survives_and_so_does_its_canonical_spelling(text: str) -> None:
    checked = check([f"model.chat_template={text}"])
    if not checked.problems:
        (value,) = checked.values
        assert check(checked.canonical).values == [value]
        if not text.strip().startswith(("'", '"')) and "\\" not in text:
            assert value == Value("model.chat_template", text)
