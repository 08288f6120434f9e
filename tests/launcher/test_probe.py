"""The probe: what Slurm's answers say, and that no answer, a wrong one or a late one is survived."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.errors import SiteError
from launcher.slurm import probe as module
from launcher.slurm.facts import HISTORY_DAYS, Association, History, Preemption, Qos, SiteFacts, read_mode
from launcher.slurm.probe import (
    config_facts,
    probe,
    read_associations,
    read_history,
    read_partitions,
    read_qos,
    read_sinfo,
)
from launcher.slurm.reading import read_config, read_list, read_number, read_parameter, read_seconds, read_words
from tests.launcher.sites import CONFIG, PARTITIONS, Site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path / "site", monkeypatch)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("5 sec", 5), ("2 min", 120), ("20", 20), ("30:00", 1800), ("01:30:00", 5400), ("7-00:00:00", 604800),
        ("00:00:45.5", 45), ("UNLIMITED", None), ("infinite", None), ("NONE", None), ("", None), (None, None),
        ("5 parsecs", None), ("-1", None),
    ],
)  # fmt: skip
def test_times(written: str | None, seconds: int | None) -> None:
    assert read_seconds(written) == seconds


@pytest.mark.parametrize(
    ("written", "mode"),
    [
        ("REQUEUE", "requeue"), ("GANG,SUSPEND", "suspend"), ("CANCEL,WITHIN", "cancel"), ("OFF", "off"),
        ("(null)", "off"), (None, "off"), ("GANG", "off"),
    ],
)  # fmt: skip
def test_modes(written: str | None, mode: str) -> None:
    assert read_mode(written) == mode


@given(st.text())
def test_no_text_breaks_a_reader(text: str) -> None:
    SiteFacts("", {}, **config_facts(read_config(text)))
    read_words(text), read_seconds(text), read_number(text), read_list(text), read_parameter(text, "a"), read_mode(text)
    read_history(text), read_partitions(text), read_sinfo(text), read_qos(text), read_associations(text)


@given(st.lists(st.text(st.characters(exclude_characters="\n"), max_size=9), min_size=8, max_size=8))
def test_no_fields_break_a_reader(parts: list[str]) -> None:
    read_sinfo("\x1f".join(parts)), read_qos("|".join(parts)), read_associations("|".join(parts[:6]))
    read_history("|".join(parts[:3]))
    read_partitions(f"PartitionName=x MaxTime={parts[0]} TotalNodes={parts[1]} State={parts[2]}")


def test_a_site_that_answers(site: Site) -> None:
    facts = probe()
    assert (facts.version, facts.cluster, facts.controllers) == ("22.05.8", "alps", ("head", "spare"))
    assert (facts.job_requeue, facts.requeue, facts.submit_plugins) == (True, True, ())
    assert (facts.credential_seconds, facts.requeue_delay_seconds) == (5, 6)
    assert (facts.kill_wait_seconds, facts.min_job_age_seconds, facts.proctrack) == (30, 300, "cgroup")
    assert (facts.max_array_size, facts.max_job_count, facts.user_signal) == (1001, 10000, False)
    assert (facts.accounting, facts.accounting_answers) == (True, True)
    assert (facts.unknown, facts.complete, all(facts.programs.values())) == ({}, True, True)
    assert facts.history == History(node_failures=1, node_hours=5.5)
    assert f"--starttime=now-{HISTORY_DAYS}days" in site.calls("sacct")[0]
    low, high = facts.partitions
    assert (low.default, low.up, low.max_seconds, low.default_seconds) == (True, True, 604800, 3600)
    assert (low.grace_seconds, low.priority_tier, low.preempt_mode, low.qos) == (20, 1, "REQUEUE", None)
    assert (low.nodes, low.states, low.gres) == (4, {"idle": 3, "down": 1}, ("gpu:h100:8",))
    assert (high.max_seconds, high.default_seconds, high.default, high.qos) == (None, None, False, "narrow")
    assert facts.qos[1] == Qos("narrow", ("normal",), "requeue", 45, 600, 2, 200, 86400)
    assert facts.qos[0].preempt_mode is None
    assert facts.associations[0] == Association("research", None, ("narrow", "normal"), "normal", None, 500)


def test_preemption_by_partition(site: Site) -> None:
    facts = probe()
    assert facts.preemption() == Preemption("requeue", 20, ("high",), 0) == facts.preemption("low,high")
    assert facts.preemption("high") == Preemption("off")
    assert facts.preemption("no such") is None
    # Its own mode means nothing to a partition that no other is above.
    site.answer("scontrol", ["partition"], PARTITIONS.replace("PreemptMode=OFF", "PreemptMode=REQUEUE"))
    assert probe().preemption("high") == Preemption("off")


def test_preemption_by_qos(site: Site) -> None:
    config = CONFIG.replace("preempt/partition_prio", "preempt/qos").replace("= REQUEUE", "= SUSPEND,GANG")
    site.answer("scontrol", ["config"], config.replace("ExemptTime       = 00:00:00", "ExemptTime       = 00:05:00"))
    facts = probe()
    assert facts.preemption(qos="normal") == Preemption("suspend", 0, ("narrow",), 300)
    assert facts.preemption(qos="narrow") == Preemption("off")
    site.answer("sacctmgr", ["qos"], "low||cancel|00:00:45|00:10:00|||\nurgent|low,normal||||||\n")
    assert probe().preemption(qos="low") == Preemption("cancel", 45, ("urgent",), 600)


def test_nothing_preempts(site: Site) -> None:
    for written in ("preempt/none", "(null)"):
        site.answer("scontrol", ["config"], CONFIG.replace("preempt/partition_prio", written))
        facts = probe()
        assert (facts.preempt_type, facts.preemption()) == ("preempt/none", Preemption("off"))


@pytest.mark.parametrize(
    ("line", "sent"),
    [
        ("SlurmctldParameters = enable_configless,Preempt_Send_User_Signal", True),
        ("PreemptParameters = youngest_first,send_user_signal", True),
        ("PreemptParameters = youngest_first", False),
        ("SlurmctldParameters = preempt_send_user_signals", False),
    ],
)
def test_the_signal_of_a_preemption(site: Site, line: str, sent: bool) -> None:
    site.answer("scontrol", ["config"], CONFIG.replace("SlurmctldParameters     = (null)", line))
    assert probe().user_signal is sent


def test_a_job_that_asks_is_requeued_whatever_the_default(site: Site) -> None:
    site.answer("scontrol", ["config"], CONFIG.replace("JobRequeue              = 1", "JobRequeue = 0"))
    facts = probe()
    assert (facts.job_requeue, facts.requeue) == (False, True)


def test_a_plugin_may_forbid_requeues(site: Site) -> None:
    text = CONFIG.replace("JobSubmitPlugins        = (null)", "JobSubmitPlugins = job_submit/lua,throttle")
    site.answer("scontrol", ["config"], text)
    facts = probe()
    assert (facts.submit_plugins, facts.requeue) == (("lua", "throttle"), None)
    site.answer("scontrol", ["config"], text.replace("job_submit/lua,throttle", "throttle"))
    assert probe().requeue is True


def test_the_narrowest_limit_counts(site: Site) -> None:
    facts = probe()
    assert facts.submit_limit() == 500
    assert facts.submit_limit("high") == 200  # its partition's QOS
    assert facts.submit_limit(account="root") == 10000
    assert facts.submit_limit(qos="narrow") == 200


def test_without_scontrol(site: Site) -> None:
    site.without("scontrol")
    facts = probe()
    why = "there is no scontrol on the PATH"
    assert (facts.version, facts.accounting, facts.accounting_answers) == ("22.05.8", True, True)
    assert facts.unknown["job_requeue"] == facts.unknown["partitions.grace_seconds"] == why
    assert not {"accounting", "version"} & facts.unknown.keys()
    assert (facts.job_requeue, facts.requeue, facts.kill_wait_seconds, facts.preemption()) == (None, None, None, None)
    low, high = facts.partitions
    assert (low.name, low.default, low.max_seconds, low.nodes, low.gres) == ("low", True, 604800, 4, ("gpu:h100:8",))
    assert (high.default, high.max_seconds, high.preempt_mode, high.grace_seconds) == (False, None, "OFF", None)


def test_without_sinfo_partitions_have_no_states(site: Site) -> None:
    site.without("sinfo")
    facts = probe()
    assert [(each.name, each.states, each.nodes) for each in facts.partitions] == [("low", {}, 4), ("high", {}, 4)]
    assert "no sinfo" in facts.unknown["partitions.states"]


def test_a_site_without_accounting(site: Site) -> None:
    text = CONFIG.replace("accounting_storage/slurmdbd", "accounting_storage/none")
    site.answer("scontrol", ["config"], text)
    facts = probe()
    assert (facts.accounting, facts.accounting_answers, facts.qos) == (False, None, ())
    assert facts.unknown["qos"] == "this site has no accounting"
    assert facts.complete
    assert site.calls("sacctmgr") == []


def test_a_database_that_does_not_answer_is_asked_once(site: Site) -> None:
    site.answer("sacctmgr", [], "sacctmgr: error: Sending PersistInit msg: Connection refused\n", 1)
    facts = probe()
    assert (facts.accounting, facts.accounting_answers, facts.complete) == (True, False, False)
    assert "Connection refused" in facts.unknown["qos"] and "Connection refused" in facts.unknown["associations"]
    assert len(site.calls("sacctmgr")) == 1


def test_without_sacctmgr_sacct_tells_whether_there_are_records(site: Site) -> None:
    site.without("sacctmgr")
    facts = probe()
    assert (facts.accounting_answers, facts.complete) == (True, True)
    assert "no sacctmgr" in facts.unknown["qos"]
    assert "--starttime=now" in site.calls("sacct")[0]


def test_a_hanging_program_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.5)
    site.answer("sacctmgr", [], "", seconds=60)
    facts = probe()
    assert "sacctmgr did not answer within 0.5 s" in facts.unknown["associations"]
    assert facts.accounting_answers is False


def test_a_controller_that_does_not_answer(site: Site) -> None:
    site.answer("scontrol", [], "slurm_load_ctl_conf error: Unable to contact slurm controller (connect failure)\n", 1)
    with pytest.raises(SiteError, match=r"its controller does not answer: .*Unable to contact"):
        probe()
    assert [call[0] for call in site.calls()] == ["scontrol"]


def test_a_machine_without_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SiteError, match=r"no Slurm on this machine .*: type this on a login node"):
        probe()
