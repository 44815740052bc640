"""What a run was asked for is what it does, or it does not begin."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.run import replay
from airflow_provider_tenable.run.conf import check_conf
from airflow_provider_tenable.run.params import DEFAULTS


def context(conf, *, own=(), overrides=True):
    """A task's context, as Airflow makes it of a conf and the DAG's params."""
    usual = {**DEFAULTS, **dict.fromkeys(own, 1)}
    params = {**usual, **(conf or {})} if overrides else usual
    return {
        "dag_run": SimpleNamespace(dag_id="the_dag", conf=conf),
        "dag": SimpleNamespace(params=usual),
        "params": params,
    }


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("dryrun", "dry_run"),
        ("dry-run", "dry_run"),
        ("Dry_Run", "dry_run"),
        ("DRYRUN", "dry_run"),
        ("severity", "severities"),
        ("destination", "destinations"),
        ("batchsize", "batch_size"),
        ("max_rejected", "max_rejected_ratio"),
        ("non-ec2-assets", "non_ec2_assets"),
    ],
)
def test_misspelt_param_is_refused_with_the_one_that_was_meant(given, meant):
    with pytest.raises(
        ConfigurationError,
        match=rf"was given the param '{given}' \(did you mean '{meant}'\?\), which DAG the_dag does not have",
    ):
        check_conf(context({given: True}), DEFAULTS)


def test_param_that_resembles_none_is_refused_with_all_that_there_are():
    with pytest.raises(ConfigurationError) as failure:
        check_conf(context({"q": 1, "since": None}), DEFAULTS)
    assert "the param 'q', which" in str(failure.value)
    assert all(name in str(failure.value) for name in DEFAULTS)
    assert "Nothing was exported" in str(failure.value)


@pytest.mark.parametrize(
    "conf", [None, {}, {"dry_run": True}, {"openlineage": {"parentRunId": "x"}, "dry_run": True}, dict(DEFAULTS)]
)
def test_params_of_the_dag_and_what_airflow_adds_itself_pass(conf):
    check_conf(context(conf), DEFAULTS)


def test_dag_of_ones_own_may_have_params_of_its_own():
    check_conf(context({"team": 2}, own=["team"]), DEFAULTS)
    # And need not have all of ours.
    check_conf({**context({"batch_size": 5}), "dag": SimpleNamespace(params={})}, DEFAULTS)


@pytest.mark.parametrize(
    ("conf", "named"), [({"dry_run": True}, "'dry_run'"), ({"severities": ["low"], "since": None}, "'severities'")]
)
def test_conf_that_airflow_ignores_is_refused_and_the_option_is_named(conf, named):
    with pytest.raises(
        ConfigurationError,
        match=rf"the param {named}, but Airflow ignored it because \[core\] dag_run_conf_overrides_params is False",
    ):
        check_conf(context(conf, overrides=False), DEFAULTS)


def test_conf_that_says_what_the_params_say_anyway_passes():
    # The trigger form sends every field.
    check_conf(context(dict(DEFAULTS), overrides=False), DEFAULTS)


def test_hostile_names_are_shown_quoted_and_bounded_and_values_never():
    conf = {f"x\n[ERROR]\x1b[31m{number}" + "y" * 1000: "the-secret" for number in range(50)}
    with pytest.raises(ConfigurationError) as failure:
        check_conf(context(conf), DEFAULTS)
    text = str(failure.value)
    assert "\n" not in text
    assert "\x1b" not in text
    assert "the-secret" not in text
    assert "and 45 more" in text
    assert len(text) < 2000


def test_replay_refuses_too(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__TENABLE__STAGING_PATH", f"file://{tmp_path}")
    conf = {"runid": "x"}
    known = {"run_id": None, "dag_id": "d", "transform": False, "max_rejected_ratio": 0.0}
    dag_run = SimpleNamespace(dag_id="tenable_replay_rejected", run_id="r", conf=conf)
    with pytest.raises(ConfigurationError, match=r"'runid' \(did you mean 'run_id'\?\)"):
        replay.plan_replay({"dag_run": dag_run, "dag": SimpleNamespace(params=known), "params": {**known, **conf}})
    assert list(tmp_path.iterdir()) == []


def test_messages_are_complete():
    known = ("dry_run", "since")
    with pytest.raises(ConfigurationError) as failure:
        check_conf(
            {
                "dag_run": SimpleNamespace(dag_id="the_dag", conf={"dryrun": 1, "zz": 2, "since": 3}),
                "params": {"since": 3},
            },
            known,
        )
    assert str(failure.value) == (
        "The run was given the params 'dryrun' (did you mean 'dry_run'?), 'zz', which DAG the_dag does not have. "
        "Nothing was exported. Trigger it again with params that it has: dry_run, since."
    )
    with pytest.raises(ConfigurationError) as failure:
        check_conf(context({"dry_run": True, "since": 5}, overrides=False), DEFAULTS)
    assert str(failure.value) == (
        "The run was given the params 'dry_run', 'since', but Airflow ignored it because [core] "
        "dag_run_conf_overrides_params is False. Nothing was exported. Set the option to True, or trigger the DAG "
        "without params and set its defaults with [tenable] dag_params."
    )


@pytest.mark.parametrize("count", [5, 6])
def test_five_names_are_shown_and_the_others_counted(count):
    with pytest.raises(ConfigurationError) as failure:
        check_conf(context({f"{number}" * 81: 1 for number in range(count)}), DEFAULTS)
    text = str(failure.value)
    assert [f"{number}" * 78 in text for number in range(count)] == [True] * 5 + [False] * (count - 5)
    assert "0" * 81 not in text
    assert (" and 1 more, which DAG" in text) == (count == 6)


def test_param_of_the_dag_that_is_missing_from_the_run_was_ignored():
    given = {"dag_run": SimpleNamespace(dag_id="the_dag", conf={"since": None}), "params": {}}
    with pytest.raises(ConfigurationError, match="the param 'since', but Airflow ignored it"):
        check_conf(given, ("since",))


def test_run_without_a_conf_passes():
    check_conf({"dag_run": SimpleNamespace(dag_id="the_dag"), "params": {}}, ("since",))
