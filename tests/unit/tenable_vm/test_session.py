"""The session that guards the keys."""

from __future__ import annotations

import contextlib
import email.utils
import math
import time

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.tenable_vm.http_time import http_date, seconds_of
from airflow_provider_tenable.tenable_vm.session import GuardedSession
from tests.local_server import ACCESS

NOW = 1_800_000_000.0


@pytest.fixture
def session(server):
    with GuardedSession(server.url) as guarded:
        guarded.headers["X-ApiKeys"] = f"accessKey={ACCESS}"
        yield guarded


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_is_refused_and_the_keys_are_not_sent_there(server, other_server, session, status):
    server.answer(status, Location=f"{other_server.url}/elsewhere")
    with pytest.raises(ConfigurationError) as failure:
        session.get(f"{server.url}/session")
    assert str(failure.value) == (
        f"127.0.0.1:{server.port} redirects to http://127.0.0.1:{other_server.port}. The API keys are not sent there. "
        "If that address is correct, put it into the connection's URL."
    )
    assert other_server.requests == []
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "location",
    [
        "//evil.example.com/x",
        "https://evil.example.com/",
        "http://{home}@evil.example.com/",
        "http://{home}.evil.example.com/",
        "http://evil.example.com:{port}/",
        "http://localhost:{port}/",
        "http://127.0.0.1/",
        "ftp://{home}/",
        "https://{home}/",
    ],
)
def test_every_way_to_name_another_place_is_refused(server, session, location):
    server.answer(302, Location=location.format(home=f"127.0.0.1:{server.port}", port=server.port))
    with pytest.raises(ConfigurationError, match="API keys are not sent there"):
        session.get(f"{server.url}/session")
    assert len(server.requests) == 1


def test_a_redirect_from_https_to_http_on_the_same_host_is_refused():
    with GuardedSession("https://cloud.tenable.com") as session:
        answer = requests.Response()
        answer.status_code, answer.url = 302, "https://cloud.tenable.com/session"
        answer.headers["Location"] = "http://cloud.tenable.com/session"
        answer._content, answer._content_consumed = b"", True
        with pytest.raises(ConfigurationError, match=r"cloud\.tenable\.com redirects to http://cloud\.tenable\.com"):
            session.get_redirect_target(answer)


@pytest.mark.parametrize("location", ["/new", "new", "{url}/new", "?page=2", "http:new"])
def test_a_redirect_at_home_is_followed(server, session, location):
    server.answers = [(302, {"Location": location.format(url=server.url)}, b""), (200, {}, b"{}")]
    assert session.get(f"{server.url}/old").status_code == 200
    assert len(server.requests) == 2
    assert server.requests[1][2]["X-ApiKeys"] == f"accessKey={ACCESS}"


def test_a_redirect_without_end_ends(server, session):
    server.answer(302, Location="/again")
    with pytest.raises(requests.TooManyRedirects):
        session.get(f"{server.url}/again")


@pytest.mark.parametrize("location", ["http://[bad", "\\\\evil.example.com", "http:///x"])
def test_a_redirect_that_cannot_be_read_leads_nowhere_else(server, session, location):
    server.answers = [(302, {"Location": location}, b""), (404, {}, b"{}")]
    with contextlib.suppress(ValueError, requests.RequestException, ConfigurationError):
        session.get(f"{server.url}/x")
    assert all(request[2]["Host"] == f"127.0.0.1:{server.port}" for request in server.requests)


# Retry-After.


@pytest.mark.parametrize(
    ("header", "becomes"),
    [
        ("7", "7.0"),
        ("0", "0.0"),
        ("1.5", "1.5"),
        ("300", "300.0"),
        ("301", "300.0"),
        ("99999999999999999999", "300.0"),
        ("1e309", "300.0"),
        ("inf", "300.0"),
        ("-5", "0.0"),
        ("-inf", "0.0"),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("Fri, 31 Dec 1999 23:59:59 GMT", "0.0"),
        ("Fri, 31 Dec 9999 23:59:59 GMT", "300.0"),
        ("Fri, 99 Foo 2026 99:99:99 GMT", None),
    ],
)
def test_retry_after_becomes_seconds_that_can_be_slept(server, session, header, becomes):
    server.answer(429, Retry_After=header)
    answer = session.get(server.url)
    assert answer.headers.get("Retry-After") == becomes


def test_a_date_in_retry_after_is_measured_by_the_servers_own_clock(server, session):
    there = time.time() + 5 * 86_400
    server.answers = [lambda handler: _dated(handler, there, there + 42)]
    assert float(session.get(server.url).headers["Retry-After"]) == 42.0


def _dated(handler, date, retry):
    handler.send_response_only(429)
    handler.send_header("Date", email.utils.formatdate(date, usegmt=True))
    handler.send_header("Retry-After", email.utils.formatdate(retry, usegmt=True))
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def test_no_earlier_answer_counts_for_the_clock_of_a_later_one(server, session):
    """Hours may lie between two answers of a connection."""
    long_ago = 1_600_000_000
    server.answers = [lambda handler: _dated(handler, long_ago, long_ago)]
    session.get(server.url)

    def undated(handler):
        handler.send_response_only(429)
        handler.send_header("Date", "long ago")
        handler.send_header("Retry-After", email.utils.formatdate(time.time() + 42, usegmt=True))
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    server.answers = [undated]
    assert 30 <= float(session.get(server.url).headers["Retry-After"]) <= 42


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.text(max_size=40),
        st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,5} \d\d:\d\d:\d\d [-+A-Z0-9]{0,6}"),
    )
)
def test_no_header_text_is_a_crash(text):
    date = http_date(text)
    assert date is None or math.isfinite(date)
    seconds = seconds_of(text, now=NOW)
    assert seconds is None or seconds == seconds  # noqa: PLR0124


def test_http_dates():
    assert http_date("Mon, 23 Nov 2026 14:02:03 GMT") == 1_795_442_523
    assert http_date(None) is None
    assert http_date("") is None
    assert seconds_of("Mon, 23 Nov 2026 14:02:13 GMT", now=1_795_442_523) == 10
