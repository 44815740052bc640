"""The steps of ``tenable_aws_audit``: its params, its results, and the assets that it updates."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_tenable._compat import asset_alias
from airflow_provider_tenable.exceptions import ConfigurationError, IncompleteRunError
from airflow_provider_tenable.run.asset_event import announce_audits, completed_audits
from airflow_provider_tenable.run.aws_audit import AWS_AUDIT, check_results, plan_audit, report_audit

ACCOUNT = "111122223333"
RESULT = {
    "scan": 36,
    "name": f"AWS audit {ACCOUNT}",
    "run_uuid": "ce89ab55-f609-4c43-be73-8ad4632b9c2c",
    "status": "completed",
    "started_at": 1.0,
    "ended_at": 2.0,
    "hosts": 1,
    "compliance": {"failed": 5, "warning": 2, "passed": 40},
    "account": ACCOUNT,
}


def context(**params: Any) -> dict[str, Any]:
    given = {"accounts": [{"account": ACCOUNT}], **params}
    dag_run = SimpleNamespace(dag_id="tenable_aws_audit", run_id="now", conf=given)
    return {"params": {**{name: param.default for name, param in AWS_AUDIT.items()}, **given}, "dag_run": dag_run}


def test_an_account_gets_everything_that_its_tasks_need() -> None:
    target = {
        "account": "444455556666",
        "aws_conn_id": None,
        "role_name": "a/R",
        "external_id": "x-1",
        "regions": ["eu-west-1"],
    }
    first, second = plan_audit(context(accounts=[{"account": ACCOUNT}, target], regions=["us-gov-east-1", " "]))
    assert first == {
        "account": ACCOUNT,
        "name": f"AWS audit {ACCOUNT}",
        "aws_conn_id": "aws_default",
        "role_name": "",
        "external_id": "",
        "region_name": "us-gov-east-1",
        "regions": ["us-gov-east-1"],
        "audits": ["CIS_Amazon_Web_Services_Foundations_*_L1"],
        "scanner": "",
        "security_audit": False,
        "max_age_days": 30,
        "debug": False,
        "formats": [],
        "password_conn_id": "",
    }
    assert (second["aws_conn_id"], second["role_name"], second["external_id"]) == ("", "a/R", "x-1")
    assert (second["regions"], second["region_name"]) == (["eu-west-1"], "eu-west-1")
    debugged = plan_audit(context(debug=True, password_conn_id="db"))[0]
    assert (debugged["formats"], debugged["password_conn_id"]) == (["db"], "db")


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"accounts": []}, "must be a list of objects"),
        ({"accounts": "x"}, "must be a list of objects"),
        ({"accounts": [None]}, "must be a list of objects"),
        ({"accounts": [{"account": 111122223333}]}, "a text of 12 digits"),
        ({"accounts": [{"account": ACCOUNT, "roel_name": "R"}]}, "has 'roel_name'; it can have account"),
        ({"accounts": [{"account": ACCOUNT}, {"account": ACCOUNT}]}, "is given twice"),
        ({"accounts": [{"account": ACCOUNT, "role_name": "{{ x }}"}]}, "role_name of account"),
        ({"accounts": [{"account": ACCOUNT, "aws_conn_id": "{{ x }}"}]}, "aws_conn_id of account"),
        ({"accounts": [{"account": ACCOUNT, "external_id": "{{ x }}"}]}, "external_id of account"),
        ({"accounts": [{"account": ACCOUNT, "regions": ["{{ x }}"]}]}, "give names of Regions, or all"),
        ({"regions": []}, "give names of Regions, or all"),
        ({"regions": "all"}, "regions is 'all'; it must be a list"),
        ({"audits": []}, "has no audit files"),
        ({"audits": ["{{ x }}"]}, "cannot be the pattern of an audit file"),
        ({"scanner": "{{ x }}"}, "cannot be the name or uuid of a scanner"),
        ({"security_audit": "yes"}, "must be true or false"),
        ({"debug": 1}, "must be true or false"),
        ({"debug": True}, "password_conn_id is None"),
        ({"max_key_age_days": -1}, "a number from 0 to 3650"),
        ({"acounts": []}, "did you mean 'accounts'?"),
    ],
)
def test_a_wrong_param_is_named(params: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem.replace("?", r"\?")):
        plan_audit(context(**params))


def test_an_audit_without_results_is_no_success() -> None:
    assert check_results({"account": ACCOUNT}, RESULT)["account"] == ACCOUNT
    for counts in ({}, None, {"failed": 0, "warning": 0, "passed": 0}):
        with pytest.raises(IncompleteRunError, match=rf"account {ACCOUNT} is completed without .* max_key_age_days=0"):
            check_results({"account": ACCOUNT}, {**RESULT, "compliance": counts})


class Events(dict[Any, Any]):
    """Airflow's events, by asset or alias."""

    def __missing__(self, key: Any) -> Any:
        self[key] = made = SimpleNamespace(added=[], extra=None)
        made.add = lambda asset, extra: made.added.append((asset.uri, extra))
        return made


@pytest.mark.parametrize("given", [[RESULT], RESULT, [None, RESULT]], ids=["sequence", "single", "one failed"])
def test_the_assets_of_the_audits_are_updated(given: Any) -> None:
    alias, asset, events = asset_alias("tenable_aws_audit"), completed_audits(), Events()
    made = announce_audits({"outlet_events": events}, alias, asset, given)
    assert made == {"accounts": [{"account": ACCOUNT, "compliance": RESULT["compliance"]}]}
    assert [uri for uri, _ in events[alias].added] == [f"tenable://scan/AWS%20audit%20{ACCOUNT}"]
    assert events[asset].extra == {"accounts": ACCOUNT}


@pytest.mark.parametrize("given", [[], None, [None]])
def test_nothing_is_announced_if_no_account_was_audited(given: Any) -> None:
    with pytest.raises(IncompleteRunError, match="No account was audited"):
        announce_audits({"outlet_events": Events()}, asset_alias("x"), completed_audits(), given)


def test_the_report_fails_unless_all_accounts_were_audited() -> None:
    done = {"accounts": [{"account": ACCOUNT, "compliance": {"failed": 1}}]}
    report_audit({}, [{"account": ACCOUNT}], done)
    for planned, completed in (([{"account": ACCOUNT}, {"account": "444455556666"}], done), ([], done), (None, None)):
        with pytest.raises(IncompleteRunError, match="accounts were not audited"):
            report_audit({}, planned, completed)
