"""Properties: whatever a file holds, the command ends with 0 or 2 and in words, and no key is dropped in silence."""

import contextlib
import io
import json
import string
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.axolotl import settle
from launcher.axolotl.known import KEYS, SET_KEYS
from launcher.axolotl.sheet import flatten
from launcher.cli import main

_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**6),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from(
        ["auto", "yes", "off", "", "2e-5", "cosine", "alpaca", "chat_template", "lora", "qlora", "all-linear", "q_proj",
         "zero3.json", "full_shard", "adamw_torch", "NousResearch/Llama-3.2-1B", "a/b", "rows.jsonl", "s3://x/y", "{",
         "${oc.env:HOME}"]
    ),
    st.text(string.printable, max_size=12),
)  # fmt: skip
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(sorted(SET_KEYS)) | st.text(string.ascii_letters, max_size=6), inner, max_size=3
        )
    ),
    max_leaves=8,
)
_RECIPES = st.dictionaries(
    st.sampled_from(sorted(KEYS)) | st.text(string.printable, max_size=10), _VALUES, min_size=1, max_size=14
)


_ESSENTIAL = {
    "base_model": "NousResearch/Llama-3.2-1B",
    "datasets": [{"path": "a/b", "type": "alpaca"}],
    "learning_rate": 1e-4,
    "micro_batch_size": 1,
}


@pytest.fixture
def without_composition(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra takes most of the time of an import: thousands of keys are held against the tables alone."""
    monkeypatch.setattr(settle, "_problems", lambda sheet, cluster: ([], ()))


def run(file: Path) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["import", str(file), "--json"])
    return code, out.getvalue(), err.getvalue()


@settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(_RECIPES)
def test_any_values_go_through_composition_and_end_in_words(tmp_path: Path, values: dict[str, Any]) -> None:
    check(tmp_path, _ESSENTIAL | values)


@pytest.mark.usefixtures("without_composition")
@settings(max_examples=400, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(_RECIPES)
def test_every_key_of_any_recipe_is_in_the_report(tmp_path: Path, values: dict[str, Any]) -> None:
    check(tmp_path, values)


def check(tmp_path: Path, values: dict[str, Any]) -> None:
    """One recipe through the command."""
    file = tmp_path / "axolotl.yml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    code, out, err = run(file)
    assert code in (0, 2), err
    assert "Traceback" not in err
    document = json.loads(out)
    if "keys" in document:
        assert code == (2 if document["counts"]["not supported"] or document["counts"]["not supported yet"] else 0)
        listed = {record["key"] for record in document["keys"]}
        assert {key for key, _ in flatten({str(key): value for key, value in values.items()})} <= listed
        assert all(record["why"] or record["to"] for record in document["keys"])


@pytest.mark.usefixtures("without_composition")
@settings(max_examples=400, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(alphabet=string.printable, max_size=200) | st.binary(max_size=80))
def test_any_text_ends_in_words(tmp_path: Path, text: str | bytes) -> None:
    file = tmp_path / "axolotl.yml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    code, _, err = run(file)
    assert code in (0, 2), err
    assert "Traceback" not in err
