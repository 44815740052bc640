"""The button to the console."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest

from airflow_provider_tenable import config
from airflow_provider_tenable._compat import AIRFLOW_V_3_0_PLUS
from airflow_provider_tenable.dags import (
    tenable_compliance_to_security_hub,
    tenable_to_security_hub,
    tenable_was_to_security_hub,
)
from airflow_provider_tenable.links import security_hub
from airflow_provider_tenable.links.security_hub import (
    XCOM_KEY,
    SecurityHubFindingsLink,
    console_url,
    hubs_url,
    show_hubs,
)
from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.staging.layout import RunFolder

ACCOUNT = "123456789012"


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-west-1", "eu-west-1.console.aws.amazon.com"),
        ("cn-north-1", "cn-north-1.console.amazonaws.cn"),
        ("us-gov-west-1", "us-gov-west-1.console.amazonaws-us-gov.com"),
    ],
)
def test_the_console_is_that_of_the_partition_and_region(region, host):
    parts = urlsplit(console_url(account=ACCOUNT, region=region))
    assert (parts.scheme, parts.netloc, parts.path, parts.query) == (
        "https",
        host,
        "/securityhub/home",
        f"region={region}",
    )
    assert parts.fragment.startswith("/findings?")


def test_the_findings_are_those_of_tenable_in_that_account():
    # As the console itself writes it: the values encoded, then the whole search.
    fragment = urlsplit(console_url(account=ACCOUNT, region="eu-west-1")).fragment
    assert fragment == (
        "/"
        "findings?search=CompanyName%3D%255Coperator%255C%253AEQUALS%255C%253ATenable%26AwsAccountId%3D%255Coperator%255C%253AEQUALS%255C%253A123456789012"
    )
    assert unquote(unquote(fragment)).endswith(
        r"CompanyName=\operator\:EQUALS\:Tenable&AwsAccountId=\operator\:EQUALS\:123456789012"
    )


@pytest.mark.parametrize("region", ["us-iso-east-1", "us-isob-east-1", "eusc-de-east-1"])
def test_a_partition_whose_console_is_not_known_has_no_link(region):
    assert console_url(account=ACCOUNT, region=region) is None


@pytest.mark.parametrize(("stored", "shown"), [("https://x", "https://x"), (None, "")])
def test_the_button_shows_what_the_task_stored(monkeypatch, stored, shown):
    asked = []

    class Store:
        @staticmethod
        def get_value(**kwargs):
            asked.append(kwargs)
            return stored

    monkeypatch.setattr(security_hub, "XCom", Store)
    assert SecurityHubFindingsLink().get_link(None, ti_key="key") == shown
    assert asked == [{"key": XCOM_KEY, "ti_key": "key"}]


# The button on the task report.

ONE, OTHER = f"{ACCOUNT}/eu-west-1", f"{ACCOUNT}/eu-central-1"


@pytest.fixture
def page(monkeypatch):
    """An Airflow that has the page, at an address with a prefix."""
    options = {"ui": True}
    monkeypatch.setattr(config, "get", options.__getitem__)
    monkeypatch.setattr(security_hub, "AIRFLOW_V_3_1_1_PLUS", AIRFLOW_V_3_0_PLUS)
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/prefix/")
    monkeypatch.setenv("AIRFLOW__WEBSERVER__BASE_URL", "https://airflow.example.com/prefix/")
    return options


def test_report_of_one_hub_leads_to_its_console_and_of_several_to_the_page_that_has_all_links(page):
    assert hubs_url("a dag", []) is None
    assert hubs_url("a dag", [ONE]) == console_url(account=ACCOUNT, region="eu-west-1")
    assert hubs_url("a dag", [ONE, OTHER]) == "https://airflow.example.com/prefix/tenable/?dag_id=a%20dag#findings"
    page["ui"] = False
    assert hubs_url("a dag", [ONE, OTHER]) is None


def test_airflow_3_0_has_no_page_that_the_button_could_open(page, monkeypatch):
    monkeypatch.setattr(security_hub, "AIRFLOW_V_3_0_PLUS", True)
    monkeypatch.setattr(security_hub, "AIRFLOW_V_3_1_1_PLUS", False)
    assert hubs_url("dag", [ONE, OTHER]) is None


class Task:
    """A task instance that keeps its XComs."""

    def __init__(self, failing: bool = False) -> None:
        self.pushed: dict[str, str] = {}
        self.failing = failing

    def xcom_push(self, key: str, value: str) -> None:
        if self.failing:
            raise ConnectionError
        self.pushed[key] = value


@pytest.mark.parametrize(
    ("ledger", "failing", "button"),
    [({"destinations": {ONE: {}}}, False, True), (None, False, False), ({"destinations": {ONE: {}}}, True, False)],
)
def test_report_stores_the_address_and_never_fails_because_of_it(tmp_path, monkeypatch, ledger, failing, button):
    run, task = RunFolder(f"file://{tmp_path}", "dag", "run"), Task(failing)
    monkeypatch.setattr(RunFolder, "of", lambda context: run)
    if ledger:
        write_json(run.ledger, ledger)
    show_hubs({"ti": task})
    assert task.pushed == ({XCOM_KEY: hubs_url("dag", [ONE])} if button else {})


@pytest.mark.parametrize(
    "factory", [tenable_to_security_hub, tenable_compliance_to_security_hub, tenable_was_to_security_hub]
)
def test_the_button_is_on_the_report_and_on_no_other_function(factory):
    dag = factory()
    having = {
        task.task_id
        for task in dag.tasks
        if any(link.name == SecurityHubFindingsLink.name for link in task.operator_extra_links)
    }
    assert having == {"import_findings", "report"}
