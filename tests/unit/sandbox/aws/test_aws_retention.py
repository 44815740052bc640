"""Findings are deleted with time, under the sandbox's own clock, and read late where reading lags."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

MakeFinding = Callable[..., dict[str, Any]]
DAY = 86_400.0


def ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def held(sandbox: Any) -> set[str]:
    return {each["Id"] for each in sandbox.http.get("/_sandbox/findings").json()["findings"]}


def advance(sandbox: Any, days: float) -> Any:
    return sandbox.control("clock", {"advance_seconds": days * DAY})


@pytest.mark.parametrize(("state", "days"), [("ACTIVE", 90), ("ARCHIVED", 30)])
def test_finding_is_deleted_after_its_days_and_not_a_day_earlier(
    sandbox: Any, make_finding: MakeFinding, state: str, days: int
) -> None:
    sandbox.send(make_finding(UpdatedAt=ago(1), RecordState=state))
    assert advance(sandbox, days - 2)["expired"] == 0
    assert held(sandbox) == {make_finding()["Id"]}
    assert advance(sandbox, 1)["expired"] == 1
    assert held(sandbox) == set()
    assert sandbox.client().get_findings()["Findings"] == []


def test_update_starts_the_days_again_and_the_customers_work_does_not(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.send(make_finding(Id="a", UpdatedAt=ago(80)), make_finding(Id="b", UpdatedAt=ago(80)))
    sandbox.send(make_finding(Id="a", UpdatedAt=ago(1)))
    where = {"account": "111122223333", "region": "us-east-1"}
    sandbox.control("customer", {**where, "id": "b", "set": {"Workflow": {"Status": "SUPPRESSED"}}})
    assert advance(sandbox, 20)["expired"] == 1
    assert held(sandbox) == {"a"}


def test_finding_that_was_deleted_is_created_again_without_the_customers_fields(
    sandbox: Any, make_finding: MakeFinding
) -> None:
    sandbox.send(make_finding(UpdatedAt=ago(1)))
    where = {"account": "111122223333", "region": "us-east-1", "id": make_finding()["Id"]}
    sandbox.control("customer", {**where, "set": {"Workflow": {"Status": "SUPPRESSED"}}})
    advance(sandbox, 90)
    sandbox.send(make_finding(UpdatedAt=ago(1)))
    assert sandbox.stored(make_finding()["Id"])["Workflow"] == {"Status": "NEW"}
    assert sandbox.control("summary")["imports"]["created"] == 2


def test_nothing_is_deleted_where_retention_is_off_or_the_clock_stands(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.send(make_finding(UpdatedAt=ago(1_000)))
    assert held(sandbox) == {make_finding()["Id"]}
    sandbox.control("options", {"retention": False})
    assert advance(sandbox, 1_000)["expired"] == 0
    sandbox.control("options", {"retention": True})
    assert advance(sandbox, 0)["expired"] == 1


def test_time_of_processing_counts_where_it_is_told_to(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.control("options", {"retention_by_processed_at": True})
    sandbox.send(make_finding(UpdatedAt=ago(1_000)))
    assert advance(sandbox, 89)["expired"] == 0
    assert advance(sandbox, 2)["expired"] == 1


def test_clock_moves_what_security_hub_stamps_and_is_reset(sandbox: Any, make_finding: MakeFinding) -> None:
    before = sandbox.control("clock")["now"]
    assert advance(sandbox, 10)["now"] == pytest.approx(before + 10 * DAY, abs=60)
    sandbox.send(make_finding())
    processed = datetime.fromisoformat(sandbox.stored(make_finding()["Id"])["ProcessedAt"])
    assert processed.timestamp() == pytest.approx(before + 10 * DAY, abs=60)
    found = sandbox.client().get_findings(Filters={"UpdatedAt": [{"DateRange": {"Value": 5, "Unit": "DAYS"}}]})
    assert found["Findings"] == []
    sandbox.http.post("/_sandbox/reset")
    assert sandbox.control("clock")["now"] == pytest.approx(before, abs=60)


@pytest.mark.parametrize("body", [{}, {"advance_seconds": "1"}, {"advance_seconds": True}, {"advance_seconds": -1}, []])
def test_malformed_move_of_the_clock_is_refused(sandbox: Any, body: Any) -> None:
    assert sandbox.http.post("/_sandbox/clock", json=body).status_code == 400


def test_hub_can_lose_its_findings(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.send(make_finding(Id="a"), make_finding(Id="b"))
    where = {"account": "111122223333", "region": "us-east-1"}
    assert sandbox.control("lose", {**where, "region": "eu-west-1"}) == {"lost": 0}
    assert sandbox.control("lose", {**where, "id": "a"}) == {"lost": 1}
    assert held(sandbox) == {"b"}
    assert sandbox.control("lose", where) == {"lost": 1}
    sandbox.send(make_finding(Id="a"))
    assert held(sandbox) == {"a"}


# --- Reading lags ---


def test_update_is_seen_late_where_reading_lags(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.control("options", {"visibility_seconds": 0.5})
    client = sandbox.client()

    def titles() -> list[str]:
        return [each["Title"] for each in client.get_findings()["Findings"]]

    sandbox.send(make_finding(Title="first", UpdatedAt=ago(3)))
    assert titles() == []
    sandbox.control("options", {"visibility_seconds": 0.000001})
    assert titles() == ["first"]
    sandbox.send(make_finding(Title="second", UpdatedAt=ago(2)))
    sandbox.send(make_finding(Title="third", UpdatedAt=ago(1)))
    assert titles() == ["third"]
    sandbox.control("options", {"visibility_seconds": 60})
    # Created less than a minute ago: not there for this reader.
    assert titles() == []


def test_reader_sees_the_version_of_its_moment() -> None:
    from sandbox.aws.store import Stored

    stored = Stored(
        "a", "r", "id", "p", b"third", 0, "", "", created=10.0, before=[(20.0, b"first"), (30.0, b"second")]
    )
    assert [stored.as_seen(moment) for moment in (9.0, 10.0, 19.0, 20.0, 29.0, 30.0, 99.0)] == [
        None,
        b"first",
        b"first",
        b"second",
        b"second",
        b"third",
        b"third",
    ]


def test_aggregator_reads_the_findings_of_all_accounts_and_regions(sandbox: Any, make_finding: MakeFinding) -> None:
    sandbox.send(make_finding(Id="here"))
    arn = "arn:aws:securityhub:eu-west-1::product/tenable/vulnerability-management"
    sandbox.client(region="eu-west-1").batch_import_findings(Findings=[make_finding(Id="there", ProductArn=arn)])
    client = sandbox.client()
    assert [each["Id"] for each in client.get_findings()["Findings"]] == ["here"]
    sandbox.control("options", {"aggregator": "111122223333/us-east-1"})
    assert {each["Id"] for each in client.get_findings()["Findings"]} == {"here", "there"}
    by_region = {"Region": [{"Value": "us-east-1", "Comparison": "EQUALS"}]}
    assert [each["Id"] for each in client.get_findings(Filters=by_region)["Findings"]] == ["here"]
    assert [each["Id"] for each in sandbox.client(region="eu-west-1").get_findings()["Findings"]] == ["there"]


# --- What is counted ---


def test_ingestion_events_are_creations_and_updates_by_account_and_region(
    sandbox: Any, make_finding: MakeFinding
) -> None:
    sandbox.send(make_finding(Id="a", UpdatedAt=ago(2)), make_finding(Id="b", UpdatedAt=ago(2)))
    sandbox.send(make_finding(Id="a", UpdatedAt=ago(1)), make_finding(Id="b", UpdatedAt=ago(2)))
    assert sandbox.control("stats")["ingestion_events"] == {"111122223333/us-east-1": 3}
