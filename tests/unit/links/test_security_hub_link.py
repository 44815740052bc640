"""The button to the console."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest

from airflow_provider_tenable.links import security_hub
from airflow_provider_tenable.links.security_hub import XCOM_KEY, SecurityHubFindingsLink, console_url

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
