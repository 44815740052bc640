"""A Region in which AWS has no Security Hub: it refuses its findings for good, as an account without a role does."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import botocore.loaders
import botocore.session
import msgspec
import pytest

from airflow_provider_tenable.exceptions import DestinationRefusedError, TemporaryError
from airflow_provider_tenable.hooks.security_hub import SecurityHubHook
from airflow_provider_tenable.run import destination_checks
from airflow_provider_tenable.security_hub.assignment import Target
from airflow_provider_tenable.security_hub.group import GroupImport
from airflow_provider_tenable.security_hub.refusals import refusal_of_place
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import write_lines
from airflow_provider_tenable.transform.routing import Destination

ACCOUNT, NOWHERE, KNOWN = "111122223333", "eu-nowhere-7", "eu-west-1"
_LOADER = botocore.loaders.create_loader()


@pytest.fixture(autouse=True)
def without_names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No host name has an address, as those of Regions that do not exist; the names that were looked up."""
    looked_up: list[str] = []

    def lookup(host: str, *_: Any, **__: Any) -> Any:
        looked_up.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr(botocore.session, "create_loader", lambda *_, **__: _LOADER)
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    return looked_up


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def connect(**extra: Any) -> None:
        value = {"conn_type": "aws", "login": "AKIAEXAMPLE000000001", "password": "s" * 40, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_HUB", json.dumps(value))

    connect()
    return connect


def hook(region: str | None, role: str | None = None) -> SecurityHubHook:
    return SecurityHubHook(aws_conn_id="hub", region_name=region, role_name=role, account=ACCOUNT)


@pytest.mark.parametrize("role", [None, "TenableSecurityHubImport"])
def test_region_without_an_endpoint_refuses_its_findings(
    connect: Any, role: str | None, without_names: list[str], naps: list[float]
) -> None:
    with pytest.raises(DestinationRefusedError) as failure:
        hook(NOWHERE, role).preflight("default", enable_product=False)
    text = str(failure.value)
    assert f"no such endpoint in Region {NOWHERE}: botocore " in text
    assert "Omit the Region with regions in the destination" in text
    # Only after the usual retries: the Region may be newer than botocore, and the name server out for a moment.
    assert without_names == [f"sts.{NOWHERE}.amazonaws.com"] * 6
    assert len(naps) == 5


@pytest.mark.parametrize("region", [KNOWN, "us-gov-west-1", "cn-north-1"])
def test_region_that_botocore_knows_is_temporarily_unavailable(connect: Any, region: str) -> None:
    with pytest.raises(TemporaryError, match="Cannot reach AWS"):
        hook(region).identify()


@pytest.mark.parametrize(
    "extra",
    [
        {"endpoint_url": "https://vpce-1.example"},
        {"service_config": {"sts": {"endpoint_url": "https://vpce-1.example"}}},
        {"service_config": {"securityhub": {"endpoint_url": "https://vpce-1.example"}}},
    ],
)
def test_endpoint_that_the_connection_names_is_temporarily_unavailable_in_any_region(
    connect: Any, extra: dict[str, Any]
) -> None:
    connect(**extra)
    with pytest.raises(TemporaryError, match="Cannot reach AWS"):
        hook(NOWHERE).identify()


@pytest.mark.parametrize(("region", "error"), [(KNOWN, DestinationRefusedError), ("us-east-1", TemporaryError)])
@pytest.mark.parametrize("where", ["environment", "connection"])
def test_region_without_an_endpoint_of_the_configured_kind_refuses_too(
    connect: Any, monkeypatch: pytest.MonkeyPatch, region: str, error: type[Exception], where: str
) -> None:
    """Security Hub has FIPS endpoints in the United States only."""
    if where == "environment":
        monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    else:
        connect(config_kwargs={"use_fips_endpoint": True})
    with pytest.raises(error, match=r"Cannot reach AWS.*sts"):
        hook(region).identify()


@pytest.mark.parametrize(("region", "error"), [(NOWHERE, DestinationRefusedError), (KNOWN, TemporaryError)])
def test_the_same_behind_a_proxy_that_finds_no_host(
    connect: Any, monkeypatch: pytest.MonkeyPatch, region: str, error: type[Exception]
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    with pytest.raises(error, match="ProxyConnectionError"):
        hook(region).identify()


def test_before_the_export_the_place_is_one_that_refuses(connect: Any, caplog: pytest.LogCaptureFixture) -> None:
    destination = Destination("hub", (), None, connection_region=KNOWN, caller_account=ACCOUNT)
    places = [(f"{ACCOUNT}/{NOWHERE}", destination), (f"{ACCOUNT}/{KNOWN}", destination)]
    checked, _ = destination_checks._check(places, "tenable/vulnerability-management")
    assert (list(checked.refused), checked.accepting) == ([f"{ACCOUNT}/{NOWHERE}"], set())
    assert f"Cannot determine before the export whether {ACCOUNT}/{KNOWN} accepts findings" in caplog.text


def test_import_puts_its_refusal_on_record_and_the_watermark_need_not_wait(connect: Any, tmp_path: Any) -> None:
    run = RunFolder(f"file://{tmp_path}", "dag", "run")
    part = write_lines(run.destination(ACCOUNT, NOWHERE), "part-1", [msgspec.json.encode({"Id": "1"})])
    target = Target(ACCOUNT, NOWHERE, "hub", None, [(part, 1)])
    work = GroupImport(
        run, [target], open_hook=lambda target: hook(target.region), product="default", note_refusals=True
    )
    assert work.run() is True
    assert "no such endpoint" in str(refusal_of_place(run, ACCOUNT, NOWHERE))
