"""What is asked of Slurm: the forms of device requests, free flags, and what is refused before anything is asked."""

from typing import Any

import pytest

from conf.schema.rules import check
from conf.schema.sbatch_flags import FREE, OWNED
from launcher.slurm.flags import flags
from tests.launcher.folders import config

H100: dict[str, Any] = {"gpu": {"type": "h100", "device": "cuda"}, "cluster": {"nodes": 2, "devices_per_node": 8}}


@pytest.mark.parametrize(
    ("request_form", "further", "expected"),
    [
        ("gres", None, {"gres": "gpu:h100:8"}),
        ("gres_untyped", None, {"gres": "gpu:8"}),
        ("gpus_per_node", None, {"gpus-per-node": "h100:8"}),
        ("gpus_per_node_untyped", None, {"gpus-per-node": "8"}),
        ("none", None, {}),
        ("gres", "nvme:1", {"gres": "gpu:h100:8,nvme:1"}),
        ("gpus_per_node", "nvme:1", {"gpus-per-node": "h100:8", "gres": "nvme:1"}),
        ("none", "gpu:a100:4", {"gres": "gpu:a100:4"}),
    ],
)
def test_devices_are_asked_for_in_the_sites_manner(
    request_form: str, further: str | None, expected: dict[str, str]
) -> None:
    site = {"gpu_request": request_form, "sbatch": {"gres": further} if further else {}}
    asked = flags(config(**H100, site=site), "mine")
    assert {
        name: value for name, value in asked.items() if "g" in name and name in ("gres", "gpus-per-node")
    } == expected


def test_without_a_device_none_is_asked_for() -> None:
    asked = flags(config(cluster={"nodes": 2}), "mine")
    assert not {"gres", "gpus-per-node"} & asked.keys()


def test_free_flags_keep_their_kinds_of_value() -> None:
    asked = flags(config(site={"sbatch": {"nice": 5, "contiguous": True, "hold": False, "tmp": None}}), "mine")
    assert (asked["nice"], asked["contiguous"]) == (5, True)
    assert not {"hold", "tmp"} & asked.keys()


def test_the_dependency_goes_to_the_command_line_where_another_run_is_waited_for() -> None:
    assert "dependency" not in flags(config(after="other", site={"dependency": "afterok:1"}), "mine")
    assert flags(config(site={"dependency": "afterok:1"}), "mine")["dependency"] == "afterok:1"


def found(**site: Any) -> list[tuple[str, str]]:
    return [(problem.field, problem.message) for problem in check(config(site=site)) if not problem.warning]


@pytest.mark.parametrize("flag", sorted(OWNED))
def test_flags_that_are_ours_are_refused_with_what_to_type(flag: str) -> None:
    assert (f"site.sbatch.{flag}", f"--{flag} is not for site.sbatch: {OWNED[flag]}") in found(sbatch={flag: "x"})


def test_every_named_field_is_there() -> None:
    from conf.schema.fields import fields

    words = " ".join(OWNED.values()).replace(",", " ").replace("=", " ").replace(";", " ").split()
    named = {word for word in words if "." in word}
    assert named
    assert named <= fields().keys()


def test_unknown_flags_are_refused_with_the_nearest() -> None:
    ((field, message),) = found(sbatch={"licence": "x"})
    assert field == "site.sbatch.licence"
    assert "did you mean licenses" in message


@pytest.mark.parametrize("spelling", ["mem-per-gpu", "mem_per_gpu"])
def test_both_spellings_of_a_flag_are_known(spelling: str) -> None:
    assert found(sbatch={spelling: "3G"}) == []
    assert flags(config(site={"sbatch": {spelling: "3G"}}), "mine")["mem-per-gpu"] == "3G"


def test_dashes_are_left_out() -> None:
    ((_, message),) = found(sbatch={"--nice": 1})
    assert "without its dashes: site.sbatch.nice" in message


def test_no_flag_is_both_free_and_ours() -> None:
    assert not FREE & OWNED.keys()


def test_devices_are_not_asked_for_twice() -> None:
    site = {"sbatch": {"gres": "nvme:1,gpu:2"}}
    ((field, message),) = [(p.field, p.message) for p in check(config(**H100, site=site)) if not p.warning]
    assert field == "site.sbatch.gres"
    assert "site.gpu_request=none" in message


@pytest.mark.parametrize(
    ("site", "field"),
    [
        ({"partition": "a\n#SBATCH --uid=0"}, "site.partition"),
        ({"account": "a\x1b[2J"}, "site.account"),
        ({"sbatch": {"comment": "a\nb"}}, "site.sbatch.comment"),
        ({"modules": ["a\nb"]}, "site.modules"),
        ({"srun": ["a\rb"]}, "site.srun"),
        ({"environment": {"A": "a\nb"}}, "site.environment.A"),
        ({"container": {"kind": "pyxis", "image": "a\nb"}}, "site.container.image"),
    ],
)
def test_control_characters_are_refused(site: dict[str, Any], field: str) -> None:
    assert field in [name for name, message in found(**site) if "newline" in message]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a b", "no name of a variable"),
        ("X;id", "no name of a variable"),
        ("PYTHONPATH", "set by the launcher"),
        ("HF_TOKEN", "looks like a secret"),
        ("WANDB_API_KEY", "looks like a secret"),
    ],
)
def test_variables_that_cannot_be_exported(name: str, words: str) -> None:
    ((field, message),) = found(environment={name: "1"})
    assert field == f"site.environment.{name}"
    assert words in message
