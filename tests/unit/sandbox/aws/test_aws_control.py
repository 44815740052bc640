"""Quotas, options, counters and pages."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.aws.throttle import Quotas, TokenBucket

MakeFinding = Callable[..., dict[str, Any]]


def outcomes(call: Callable[[], Any], times: int) -> list[str]:
    found = []
    for _ in range(times):
        try:
            call()
            found.append("ok")
        except ClientError as error:
            answer = error.response
            found.append(f"{answer['ResponseMetadata']['HTTPStatusCode']} {answer['Error']['Code']}")
    return found


def test_bucket_lets_a_burst_through_and_then_its_rate() -> None:
    now = [0.0]
    bucket = TokenBucket(10, 30, lambda: now[0])
    assert sum(bucket.take() for _ in range(50)) == 30
    now[0] += 1
    assert sum(bucket.take() for _ in range(50)) == 10
    now[0] += 3_600
    assert sum(bucket.take() for _ in range(50)) == 30


def test_quotas_are_per_operation_account_and_region() -> None:
    quotas = Quotas(lambda: 0.0)
    assert sum(quotas.allows("GetFindings", "a", "r") for _ in range(10)) == 6
    assert sum(quotas.allows("BatchImportFindings", "a", "r") for _ in range(40)) == 30
    assert quotas.allows("BatchImportFindings", "a", "other")
    assert quotas.allows("BatchImportFindings", "b", "r")


def test_too_many_imports_are_throttled(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.control("options", {"rate": 0.001, "burst": 2})
    client, finding = sandbox.client(), make_finding()
    found = outcomes(lambda: client.batch_import_findings(Findings=[finding]), 4)
    assert found == ["ok", "ok", "429 TooManyRequestsException", "429 TooManyRequestsException"]
    assert sandbox.control("stats")["throttled"] == 2
    sandbox.control("options", {"throttle": False})
    assert outcomes(lambda: client.batch_import_findings(Findings=[finding]), 2) == ["ok", "ok"]


def test_reading_has_the_smaller_quota(sandbox: Any) -> None:
    client = sandbox.client()
    found = outcomes(client.get_findings, 12)
    assert found[:6] == ["ok"] * 6
    assert "429 TooManyRequestsException" in found


def test_botocore_retries_what_was_throttled(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.control("options", {"rate": 5, "burst": 1})
    client = sandbox.client(retries={"total_max_attempts": 10, "mode": "standard"})
    for number in range(3):
        assert client.batch_import_findings(Findings=[make_finding(Id=str(number))])["SuccessCount"] == 1
    assert sandbox.control("stats")["throttled"] >= 1


def test_latency_and_calls_in_flight_are_seen(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.control("options", {"latency_ms": 300})
    client = sandbox.client()
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        findings = [make_finding(Id=str(number)) for number in range(4)]
        list(pool.map(lambda finding: client.batch_import_findings(Findings=[finding]), findings))
    # The number in flight shows that they did not wait for each other, whatever else the machine does.
    assert time.monotonic() - began >= 0.3
    stats = sandbox.control("stats")
    assert 2 <= stats["max_in_flight"] <= 4
    assert stats["by"]["111122223333/us-east-1"]["max_in_flight"] == stats["max_in_flight"]


def test_everything_that_was_sent_is_counted(sandbox: Any, make_finding: MakeFinding) -> None:
    newer = make_finding(UpdatedAt="2025-01-01T00:00:00Z")
    sandbox.send(make_finding(), make_finding(Id="b"), make_finding(Id="c", Title=""))
    sandbox.send(newer, make_finding(Id="b"))
    expected = {"calls": 2, "received": 5, "created": 2, "updated": 1, "ignored": 1, "failed": 1}
    assert sandbox.control("summary")["imports"] == expected
    stats = sandbox.control("stats")
    assert stats["calls"] == {"BatchImportFindings": 2}
    assert stats["largest_batch"] == 3
    assert stats["largest_body"] > 5_000
    assert stats["imports"] == expected


def test_reset_is_as_at_the_start(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.send(make_finding())
    sandbox.control("options", {"validate": False, "rate": 1})
    sandbox.control("hub", {"account": "111122223333", "region": "us-east-1", "state": "off"})
    key = sandbox.assume()
    sandbox.control("reset", {})
    assert sandbox.control("summary")["total"] == 0
    assert sandbox.control("stats")["calls"] == {}
    assert sandbox.control("options")["validate"] is True
    assert sandbox.send(make_finding())["SuccessCount"] == 1
    assert outcomes(sandbox.client(key=key).describe_hub, 1) == ["403 UnrecognizedClientException"]


@pytest.mark.parametrize(
    "options",
    [
        {"nonsense": 1},
        {"validate": 1},
        {"rate": 0},
        {"rate": "fast"},
        {"latency_ms": -1},
        {"extra_subscriptions": 1.5},
        [],
    ],
)
def test_options_are_checked(sandbox: Any, options: Any) -> None:
    before = sandbox.control("options")
    assert sandbox.http.post("/_sandbox/options", json=options).status_code == 400
    assert sandbox.control("options") == before


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("hub", {"account": "1", "region": "r", "state": "on"}),
        ("hub", {"account": "1"}),
        ("hub", []),
        ("identities", {"access_key_id": "a"}),
        ("identities", {"access_key_id": "a", "secret_access_key": "b", "account": "c", "arn": "d", "deny": "x"}),
        ("roles", {}),
        ("customer", {"account": "1", "region": "r", "id": "i"}),
    ],
)
def test_malformed_control_calls_are_refused(sandbox: Any, path: str, body: Any) -> None:
    answer = sandbox.http.post(f"/_sandbox/{path}", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_findings_are_listed_by_account_and_region(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.send(*(make_finding(Id=str(number)) for number in range(100)))
    sandbox.send(*(make_finding(Id=str(number)) for number in range(100, 200)))
    sandbox.send(*(make_finding(Id=str(number)) for number in range(200, 250)))
    found = sandbox.http.get("/_sandbox/findings", params={"account": "111122223333", "region": "us-east-1"}).json()
    assert [finding["Id"] for finding in found["findings"]] == [str(number) for number in range(250)]
    assert sandbox.http.get("/_sandbox/findings", params={"region": "eu-west-1"}).json() == {"findings": []}


def test_page_shows_counts_and_newest_findings(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.send(make_finding(), make_finding(Id="other", Title="<b>bold</b>"))
    page = sandbox.http.get("/", headers={"Accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")
    assert "Apache Log4j" in page.text
    assert "&lt;b&gt;bold&lt;/b&gt;" in page.text
    assert "<b>bold" not in page.text
    filtered = sandbox.http.get("/", params={"text": "Unsupported", "severity": "CRITICAL"}).text
    assert "Apache Log4j" in filtered
    assert "bold" not in filtered
    assert "Apache Log4j" not in sandbox.http.get("/", params={"severity": "LOW"}).text


def test_page_shows_one_finding_in_full(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.send(make_finding())
    page = sandbox.http.get("/ui/finding", params={"id": make_finding()["Id"]})
    assert page.status_code == 200
    assert "CVE-2021-44228" in page.text
    assert sandbox.http.get("/ui/finding", params={"id": "<none>"}).status_code == 404
