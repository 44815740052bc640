"""Where the keys may go: plain http only on this machine or by permission, other hosts than Tenable's not without a
word.
"""

from __future__ import annotations

import json
import logging

import pytest

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.hooks import tenable_connection
from airflow_provider_tenable.hooks.tenable import TenableHook
from tests.local_server import ACCESS, SECRET, local_server, tls_files


@pytest.fixture(autouse=True)
def nothing_reported(monkeypatch):
    monkeypatch.setattr(tenable_connection, "_reported_hosts", set())


def hook(monkeypatch, conn_id="tenable_default", **change):
    fields = {"conn_type": "tenable", "login": ACCESS, "password": SECRET, **change}
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))
    return TenableHook(conn_id)


ELSEWHERE = [
    "http://cloud.tenable.com",
    "http://sandbox:8741",
    "HTTP://Sandbox:8741",
    "http://10.0.0.1",
    "http://192.168.1.1:8080",
    "http://[2001:db8::1]",
    "http://0.0.0.0:80",
    "http://128.0.0.1",
    "http://127.0.0.1.example.com",
    "http://localhost.example.com",
    "http://127.1",
    "http://2130706433",
]


@pytest.mark.parametrize("host", ELSEWHERE)
def test_plain_http_is_refused_with_what_to_do(monkeypatch, host):
    with pytest.raises(ConfigurationError) as failure:
        _ = hook(monkeypatch, host=host).connection_arguments
    text = str(failure.value)
    assert text.startswith(
        "The URL of connection 'tenable_default' begins with http://, so the API keys would be sent unencrypted. Use "
        "https://"
    )
    assert "set extra 'allow_http' to true" in text
    assert ACCESS not in text


def test_plain_http_of_a_connection_uri_is_refused(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_TENABLE_DEFAULT", f"tenable://{ACCESS}:{SECRET}@gateway.example.com:8080/http")
    with pytest.raises(ConfigurationError, match="'allow_http'"):
        _ = TenableHook().connection_arguments


@pytest.mark.parametrize(
    "host", ["http://127.0.0.1:1", "http://127.8.9.10", "http://[::1]:80", "http://localhost:8080", "http://LOCALHOST"]
)
def test_plain_http_stays_allowed_on_this_machine(monkeypatch, host):
    assert hook(monkeypatch, host=host).connection_arguments["url"] == host.lower()


@pytest.mark.parametrize("scheme", ["http", "all"])
def test_a_proxy_takes_plain_http_off_this_machine(monkeypatch, scheme):
    with pytest.raises(ConfigurationError, match="'allow_http'"):
        _ = hook(
            monkeypatch, host="http://127.0.0.1", extra={"proxies": {scheme: "http://proxy:3128"}}
        ).connection_arguments
    assert hook(
        monkeypatch, host="http://127.0.0.1", extra={"proxies": {"https": "http://proxy:3128"}}
    ).connection_arguments


def test_a_request_to_this_machine_asks_no_proxy_of_the_environment(monkeypatch, server, other_server):
    """Else HTTP_PROXY would carry the keys away, unencrypted."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, other_server.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    server.answer(200, {"username": "u"})
    used = hook(monkeypatch, host=server.url)
    assert used.api.who_am_i() == "u"
    used.close()
    assert other_server.requests == []


@pytest.mark.parametrize("value", [True, "true", "True", " TRUE "])
def test_the_extra_allows_plain_http(monkeypatch, value):
    assert (
        hook(monkeypatch, host="http://sandbox:8741", extra={"allow_http": value}).connection_arguments["url"]
        == "http://sandbox:8741"
    )


@pytest.mark.parametrize("value", [None, "", False, "false", " False "])
def test_the_extra_can_forbid_it_as_well(monkeypatch, value):
    with pytest.raises(ConfigurationError, match="'allow_http'"):
        _ = hook(monkeypatch, host="http://sandbox:8741", extra={"allow_http": value}).connection_arguments
    assert hook(monkeypatch, extra={"allow_http": value}).connection_arguments["url"] == "https://cloud.tenable.com"


@pytest.mark.parametrize("value", ["yes", 1, 0, [], {}, "no"], ids=str)
def test_an_extra_that_is_neither_is_refused(monkeypatch, value):
    with pytest.raises(
        ConfigurationError, match="Extra 'allow_http' of connection 'tenable_default' must be true or false"
    ):
        _ = hook(monkeypatch, extra={"allow_http": value}).connection_arguments


def test_the_button_refuses_plain_http(monkeypatch):
    works, text = hook(monkeypatch, host="http://sandbox:8741").test_connection()
    assert not works
    assert text.startswith("The URL of this connection begins with http://")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_from_https_to_plain_http_is_refused(monkeypatch, tmp_path, status, other_server):
    """Also where the host and the port stay the same; over TLS on a real socket."""
    certificate, key = tls_files(tmp_path)
    with local_server((certificate, key)) as secure:
        used = hook(monkeypatch, host=secure.url, extra={"verify": str(certificate), "allow_http": "true"})
        for target in (f"http://127.0.0.1:{secure.port}/session", f"{other_server.url}/session"):
            secure.answer(status, Location=target)
            with pytest.raises(
                ConfigurationError, match=r"redirects to http://127\.0\.0\.1:\d+\. The API keys are not sent there"
            ):
                used.api.who_am_i()
        secure.answer(200, {"username": "u"})
        assert used.api.who_am_i() == "u", "the control: without the redirect it works"
        used.close()
        assert len(secure.requests) == 3
    assert other_server.requests == []


# Hosts that are not Tenable's.


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize(
    "host",
    [
        None,
        "https://cloud.tenable.com",
        "https://fedcloud.tenable.com/",
        "cloud.tenablecloud.cn",
        "https://CLOUD.tenable.com:443",
    ],
)
def test_tenables_own_hosts_are_used_without_a_word(monkeypatch, caplog, host):
    _ = hook(monkeypatch, host=host).connection_arguments
    assert warnings_of(caplog) == []


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("https://gateway.example.com:8443/t", "gateway.example.com"),
        ("https://cloud.tenable.com.example.com", "cloud.tenable.com.example.com"),
    ],
)
def test_another_host_is_named_once(monkeypatch, caplog, host, name):
    for _ in range(3):
        assert hook(monkeypatch, host=host).connection_arguments
    assert warnings_of(caplog) == [
        f"Connection 'tenable_default' sends the API keys to {name}, which is not one of Tenable's hosts. That is "
        "correct for your own proxy or gateway, or for a test; otherwise correct the connection's URL."
    ]


def test_each_other_host_and_connection_is_named(monkeypatch, caplog):
    for conn_id, host in (
        ("one", "https://a.example.com"),
        ("two", "https://a.example.com"),
        ("one", "https://b.example.com"),
        ("two", "https://a.example.com"),
    ):
        assert hook(monkeypatch, conn_id, host=host).connection_arguments
    assert [text.split(" sends")[0] + text.split("keys to")[1].split(",")[0] for text in warnings_of(caplog)] == [
        "Connection 'one' a.example.com",
        "Connection 'two' a.example.com",
        "Connection 'one' b.example.com",
    ]


def test_calls_do_not_repeat_the_warning(monkeypatch, caplog, server):
    server.answer(200, {"username": "u", "exports": []})
    used = hook(monkeypatch, host=server.url)
    for _ in range(3):
        used.api.who_am_i()
        used.api.jobs("assets")
    used.close()
    assert len([text for text in warnings_of(caplog) if "not one of Tenable's hosts" in text]) == 1
