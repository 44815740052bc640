"""Archiving over real sockets: each odd answer of Security Hub, and a process that dies after any call. In the end,
every finding is archived exactly once, and what belongs to the customer is as it was.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable.exceptions import ConfigurationError, DestinationRefusedError, TemporaryError
from airflow_provider_tenable.hooks.security_hub import SecurityHubHook
from airflow_provider_tenable.security_hub import archiving, responses
from airflow_provider_tenable.security_hub.archived_document import milliseconds_of
from airflow_provider_tenable.security_hub.archiving import Archival, ArchiveOutcome, ArchiveReceipts, FindingsArchive
from airflow_provider_tenable.security_hub.rate_limit import TokenBucket
from airflow_provider_tenable.security_hub.reader import equals
from airflow_provider_tenable.staging.crash_points import VARIABLE
from airflow_provider_tenable.staging.layout import RunFolder
from tests.faults.canary import AWS_SECRET_KEY, leaks, repeats
from tests.faults.universe import Sandbox

REASON = "tenable/vulnerability-management/archived_because"
GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "golden_finding_ec2.json").read_text())
READ, IMPORT = "GetFindings", "BatchImportFindings"
CUSTOMERS = {
    "Workflow": {"Status": "SUPPRESSED"},
    "UserDefinedFields": {"team": "a"},
    "VerificationState": "TRUE_POSITIVE",
    "Severity": {"Label": "LOW"},
    "Types": ["Effects/Ours"],
    "Criticality": 7,
}
#: What Security Hub changes itself, or the archive on purpose.
MOVING = ("RecordState", "UpdatedAt", "ProcessedAt", "ProductFields")


class Hub:
    """One account and Region of the sandbox, with findings as the mapping makes them, and a hook to it."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.account, self.region = sandbox.accounts[0], "us-east-1"
        self.run_folder = RunFolder(f"file://{folder}", "dag", "run")
        # The sandbox refuses nothing that comes too fast, and no bucket makes the tests wait.
        self.planned_at = datetime.now(UTC).replace(microsecond=0)
        self.hook = self.open_hook()
        self.ids: list[str] = []

    def open_hook(self, **more: Any) -> SecurityHubHook:
        return SecurityHubHook(aws_conn_id="archive_hub", region_name=self.region, account=self.account, **more)

    def fill(self, number: int) -> None:
        """Import so many findings, the first of which the customer has worked on."""
        sent = (datetime.now(UTC) - timedelta(days=9)).strftime("%Y-%m-%dT%H:%M:%S.123456Z")
        fields = {"ProductArn": f"arn:aws:securityhub:{self.region}::product/tenable/vulnerability-management"}
        for each in range(number):
            self.ids.append(f"{self.region}/{self.account}/i-{each:017x}/{each}/tcp/443")
        documents = [
            json.dumps({**GOLDEN, **fields, "Id": each, "AwsAccountId": self.account, "UpdatedAt": sent}).encode()
            for each in self.ids
        ]
        for begin in range(0, number, 100):
            assert self.hook.import_batch(documents[begin : begin + 100])["FailedCount"] == 0
        where = {"account": self.account, "region": self.region, "id": self.ids[0]}
        self.sandbox.aws("customer", {**where, "set": {**CUSTOMERS, "Note": {"Text": "ours"}}})
        self.before = self.sandbox.documents()

    def wanted(self) -> list[Archival]:
        return [
            Archival(each, "not_reported", milliseconds_of(self.before[each]["UpdatedAt"]) or 0) for each in self.ids
        ]

    def archive(self, hook: SecurityHubHook | None = None, **options: Any) -> ArchiveOutcome:
        work = FindingsArchive(
            **{
                "sender": hook or self.hook,
                "receipts": ArchiveReceipts(self.run_folder, self.account, self.region),
                "bucket": TokenBucket(1e9, 1e9),
                "read_bucket": TokenBucket(1e9, 1e9),
                "reasons_field": REASON,
                "planned_at": self.planned_at,
                **options,
            }
        )
        return work.run(self.wanted())

    def assert_archived(self, outcome: ArchiveOutcome, *, but: frozenset[str] = frozenset()) -> None:
        """Every finding was archived once, and nothing else about it has changed."""
        wanted = [each for each in self.ids if each not in but]
        planned = int(self.planned_at.timestamp() * 1000)
        assert sorted(outcome.archived) == sorted((each, planned) for each in wanted)
        assert outcome.not_allowed is None
        assert outcome.finished
        after = self.sandbox.documents()
        for each in self.ids:
            before, now = self.before[each], after[each]
            if each in but:
                assert now == before
                continue
            assert now["RecordState"] == "ARCHIVED"
            assert milliseconds_of(now["UpdatedAt"]) == planned
            assert now["ProductFields"] == {**before["ProductFields"], REASON: "not_reported"}
            assert {name: value for name, value in now.items() if name not in MOVING} == {
                name: value for name, value in before.items() if name not in MOVING
            }
        assert after.keys() == self.before.keys()
        assert self.sandbox.aws("summary")["imports"]["updated"] == len(wanted)


@pytest.fixture
def hub(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(responses, "LONGEST_PAUSE", 0.05)
    url = sandbox.process.aws
    extra = {"endpoint_url": url, "region_name": "us-east-1", "service_config": {"sts": {"endpoint_url": url}}}
    connection = {"conn_type": "aws", "login": "AKIASANDBOXHUB000001", "password": AWS_SECRET_KEY, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_ARCHIVE_HUB", json.dumps(connection))
    hub = Hub(sandbox, tmp_path)
    yield hub
    hub.hook.close()
    assert not leaks(tmp_path)


def test_findings_are_archived_whole_and_the_customers_fields_stay(hub: Hub) -> None:
    hub.fill(205)
    hub.assert_archived(hub.archive())
    calls = hub.sandbox.aws("stats")["calls"]
    assert (calls[READ], calls[IMPORT]) == (11, 3 + 3)
    first = hub.sandbox.documents()[hub.ids[0]]
    assert {name: first[name] for name in CUSTOMERS if name != "Severity"} == {
        name: value for name, value in CUSTOMERS.items() if name != "Severity"
    }
    assert first["Severity"]["Label"] == "LOW"
    assert first["FindingProviderFields"]["Severity"]["Label"] == "HIGH"
    assert first["Note"]["Text"] == "ours"


def test_finding_that_comes_back_after_it_was_archived_keeps_its_suppression(hub: Hub) -> None:
    hub.fill(2)
    hub.archive()
    document = hub.sandbox.documents()[hub.ids[0]]
    again = {**GOLDEN, **{name: document[name] for name in ("Id", "ProductArn", "AwsAccountId")}}
    later = (hub.planned_at + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    hub.hook.import_batch([json.dumps({**again, "UpdatedAt": later}).encode()])
    after = hub.sandbox.documents()[hub.ids[0]]
    assert (after["RecordState"], after["Workflow"]) == ("ACTIVE", {"Status": "SUPPRESSED"})
    assert REASON not in after["ProductFields"]


def test_finding_that_the_hub_has_lost_is_gone(hub: Hub) -> None:
    hub.fill(3)
    hub.sandbox.aws("lose", {"account": hub.account, "region": hub.region, "id": hub.ids[1]})
    outcome = hub.archive()
    assert outcome.gone == [hub.ids[1]]
    assert [each for each, _ in outcome.archived] == [hub.ids[0], hub.ids[2]]
    assert hub.ids[1] not in hub.sandbox.documents()


def test_findings_of_an_aggregators_members_are_left_alone(hub: Hub) -> None:
    hub.fill(3)
    other = hub.sandbox.accounts[1]
    hub.sandbox.aws("options", {"aggregator": f"{hub.account}/{hub.region}"})
    role = SecurityHubHook(
        aws_conn_id="archive_hub", region_name=hub.region, account=other, role_name="TenableSecurityHubImport"
    )
    theirs = {**GOLDEN, "Id": hub.ids[0] + "/copy", "AwsAccountId": other}
    theirs["ProductArn"] = hub.before[hub.ids[0]]["ProductArn"]
    role.import_batch([json.dumps(theirs).encode()])
    role.close()
    hub.ids.append(theirs["Id"])
    hub.before = hub.sandbox.documents()
    outcome = hub.archive()
    assert outcome.gone == [theirs["Id"]]
    assert hub.sandbox.documents()[theirs["Id"]]["RecordState"] == "ACTIVE"


# --- Odd answers ---

ODD: list[dict[str, Any]] = [
    {"do": "status", "status": 429, "body": {"__type": "TooManyRequestsException", "message": "slow down"}},
    {"do": "status", "status": 400, "body": {"__type": "ThrottlingException", "message": "Rate exceeded"}},
    {"do": "status", "status": 500, "body": {"__type": "InternalException", "message": "oops"}},
    {"do": "status", "status": 503, "body": "<html>Service Unavailable</html>"},
    {"do": "status", "status": 502, "body": ""},
    {"do": "status", "status": 408, "body": {"__type": "RequestTimeout"}},
    {"do": "reset"},
    {"do": "lose_answer"},
    {"do": "late_status", "status": 504},
    {"do": "truncate", "keep_bytes": 5},
    {"do": "truncate", "keep_bytes": 500},
    *({"do": "foreign", "form": form, "status": 200} for form in ("html", "tidy_html", "empty", "other_json", "null")),
    {"do": "foreign", "form": "list", "status": 200},
    {"do": "foreign", "form": "html", "status": 403},
    {"do": "foreign", "form": "html", "status": 302},
]


@pytest.mark.parametrize("operation", [READ, IMPORT])
@pytest.mark.parametrize("fault", ODD, ids=lambda each: "-".join(str(value) for value in list(each.values())[:3]))
def test_odd_answer_is_asked_for_again(hub: Hub, operation: str, fault: dict[str, Any]) -> None:
    hub.fill(25)
    body = fault.get("body")
    headers = {"headers": {"x-amzn-ErrorType": body["__type"]}} if isinstance(body, dict) else {}
    hub.sandbox.hub_fault({"on": operation, **fault, **headers, "times": 3})
    hub.assert_archived(hub.archive())


@pytest.mark.parametrize("operation", [READ, IMPORT])
@pytest.mark.parametrize("form", ["html", "null"])
def test_odd_answer_without_end_is_a_temporary_error_and_the_retry_resumes(hub: Hub, operation: str, form: str) -> None:
    hub.fill(25)
    hub.sandbox.hub_fault({"on": operation, "do": "foreign", "form": form, "status": 200, "times": None})
    with pytest.raises(TemporaryError, match="not from AWS"):
        hub.archive(retry_seconds=0.3)
    hub.sandbox.clear_faults()
    hub.assert_archived(hub.archive())


@pytest.mark.parametrize("operation", [READ, IMPORT])
def test_denial_names_the_permission(hub: Hub, operation: str) -> None:
    hub.fill(25)
    user = {
        "access_key_id": "AKIASANDBOXHUB000001",
        "secret_access_key": AWS_SECRET_KEY,
        "account": hub.account,
        "arn": f"arn:aws:iam::{hub.account}:user/importer",
    }
    hub.sandbox.aws("identities", {**user, "deny": [f"securityhub:{operation}"]})
    outcome = hub.archive()
    assert (outcome.not_allowed, outcome.finished) == (f"securityhub:{operation}", False)
    assert f"not authorized to perform: securityhub:{operation}" in str(outcome.explanation)
    assert hub.sandbox.documents() == hub.before
    hub.sandbox.aws("identities", {**user, "deny": []})
    hub.assert_archived(hub.archive())


@pytest.mark.parametrize("operation", [READ, IMPORT])
def test_hub_that_is_switched_off_refuses(hub: Hub, operation: str) -> None:
    hub.fill(25)
    state = {"account": hub.account, "region": hub.region}
    if operation == READ:
        hub.sandbox.aws("hub", {**state, "state": "off"})
    else:
        headers = {"x-amzn-ErrorType": "InvalidAccessException"}
        body = {"Code": "InvalidAccessException", "Message": "not subscribed"}
        hub.sandbox.hub_fault({"on": operation, "do": "status", "status": 401, "headers": headers, "body": body})
    with pytest.raises(DestinationRefusedError, match="not enabled"):
        hub.archive()
    hub.sandbox.aws("hub", {**state, "state": "subscribed"})
    hub.assert_archived(hub.archive())


def test_request_that_security_hub_does_not_accept_is_an_error_with_advice(hub: Hub) -> None:
    hub.fill(2)
    headers = {"x-amzn-ErrorType": "InvalidInputException"}
    body = {"Code": "InvalidInputException", "Message": "Invalid parameter 'NextToken'."}
    hub.sandbox.hub_fault({"on": READ, "do": "status", "status": 400, "headers": headers, "body": body})
    with pytest.raises(ConfigurationError, match="token of a page has expired"):
        hub.archive()


@pytest.mark.parametrize("operation", [READ, IMPORT])
@pytest.mark.parametrize("status", [403, 500])
def test_secrets_that_an_answer_repeats_stay_out_of_everything(
    hub: Hub, operation: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    hub.fill(2)
    code = "AccessDeniedException" if status == 403 else "InternalException"
    hub.sandbox.hub_fault({"on": operation, "do": "repeat_secrets", "status": status, "code": code})
    outcome = hub.archive()
    assert repeats(f"{outcome}{caplog.text}", AWS_SECRET_KEY) is None
    assert (outcome.not_allowed is not None) is (status == 403)


def test_finding_that_is_refused_is_counted_and_the_others_are_archived(hub: Hub) -> None:
    hub.fill(45)
    bad, poison = hub.ids[3], hub.ids[30]
    hub.sandbox.hub_fault(
        {
            "on": IMPORT,
            "do": "fail_findings",
            "code": "InvalidInput",
            "message": f"no; {AWS_SECRET_KEY}",
            "ids_containing": bad,
            "times": None,
        },
        {"on": IMPORT, "do": "poison_call", "ids_containing": poison, "times": None},
    )
    outcome = hub.archive()
    assert dict(outcome.refused) == {"InvalidInput": 1, "InvalidInputException": 1}
    assert outcome.examples["InvalidInput"] == [(bad, "no; ***")]
    hub.assert_archived(outcome, but=frozenset({bad, poison}))


def test_session_that_expires_is_renewed(hub: Hub) -> None:
    hub.fill(45)
    hub.sandbox.hub_fault(
        {"on": READ, "do": "expire_credentials", "skip": 1}, {"on": IMPORT, "do": "expire_credentials"}
    )
    role = hub.open_hook(role_name="TenableSecurityHubImport")
    hub.sandbox.aws("roles", {"arn": f"arn:aws:iam::{hub.account}:role/TenableSecurityHubImport"})
    user = {"access_key_id": "AKIASANDBOXHUB000001", "secret_access_key": AWS_SECRET_KEY, "account": hub.account}
    arn = f"arn:aws:iam::{hub.account}:user/importer"
    may = [f"arn:aws:iam::{hub.account}:role/TenableSecurityHubImport"]
    hub.sandbox.aws("identities", {**user, "arn": arn, "may_assume": may})
    outcome = hub.archive(role)
    role.close()
    hub.assert_archived(outcome)
    assert hub.sandbox.aws("stats")["calls"]["AssumeRole"] == 3


def test_fields_that_botocore_does_not_know_are_sent_back(hub: Hub) -> None:
    """botocore's parser drops them, and an update without them would delete them."""
    hub.fill(1)
    document = {**hub.before[hub.ids[0]], "FieldOfTheFuture": {"a": [1]}}
    hub.sandbox.hub_fault({"on": READ, "do": "body", "body": json.dumps({"Findings": [document]})})
    outcome = hub.archive()
    # The sandbox knows botocore's model only, so that it refuses what it was sent.
    assert dict(outcome.refused) == {"InvalidInput": 1}
    assert "additional properties" in outcome.examples["InvalidInput"][0][1]


# --- The hook's own reading ---


def test_hook_reads_pages_of_a_hundred(hub: Hub) -> None:
    hub.fill(150)
    pages = list(hub.hook.get_findings({"AwsAccountId": equals(hub.account)}, bucket=TokenBucket(1e9, 1e9)))
    assert [len(page) for page in pages] == [100, 50]
    assert {finding["Id"]: finding for page in pages for finding in page} == hub.before


def test_hook_reads_at_its_rate(hub: Hub) -> None:
    hub.sandbox.aws("options", {"throttle": True})
    hub.fill(60)
    pages = list(hub.hook.get_findings({}, page_size=5))
    assert sum(map(len, pages)) == 60
    assert hub.sandbox.aws("stats")["throttled"] == 0


def test_hook_says_which_permission_is_missing(hub: Hub) -> None:
    headers = {"x-amzn-ErrorType": "AccessDeniedException"}
    body = {"Code": "AccessDeniedException", "Message": "not authorized to perform: securityhub:GetFindings"}
    hub.sandbox.hub_fault({"on": READ, "do": "status", "status": 403, "headers": headers, "body": body})
    with pytest.raises(DestinationRefusedError, match="allow securityhub:GetFindings on the hub's ARN"):
        list(hub.hook.get_findings({}))


# --- A process that dies ---


def die(hub: Hub, crash_at: str) -> bool:
    """Archive in a process that is killed at a boundary. Returns whether it came to that."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.environ[VARIABLE] = crash_at
            hub.archive(hub.open_hook())
            status = 0
        finally:
            os._exit(status)
    _, result = os.waitpid(pid, 0)
    return os.WIFSIGNALED(result) and os.WTERMSIG(result) == signal.SIGKILL


#: 11 calls of GetFindings and 3 of BatchImportFindings.
CRASHES = [
    *(f"{point}:{number}" for number in (1, 5, 9, 12, 14) for point in ("before_call", "call_answered")),
    "file_not_renamed:1",
    "receipts_written:1",
]


@pytest.mark.parametrize("flushed", ["at the end", "after each call"])
@pytest.mark.parametrize("crash_at", CRASHES)
def test_archive_killed_at_any_boundary_is_carried_on(
    hub: Hub, crash_at: str, flushed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if flushed == "after each call":
        monkeypatch.setattr(archiving, "_FLUSH_SECONDS", 0.0)
    hub.fill(205)
    assert die(hub, crash_at), f"{crash_at} was not reached"
    sent = hub.sandbox.aws("summary")["imports"]
    hub.assert_archived(hub.archive())
    # Read and archived once more at most; a second import of the same finding had the same bytes, and was ignored.
    after = hub.sandbox.aws("summary")["imports"]
    assert after["updated"] == 205
    assert after["received"] - 205 <= 2 * 205
    assert sent["updated"] <= 205
    assert hub.sandbox.aws("stats")["calls"][READ] <= 2 * 11


def test_archive_killed_again_and_again_still_ends_right(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archiving, "_FLUSH_SECONDS", 0.0)
    hub.fill(205)
    for crash_at in ("call_answered:8", "before_call:5", "call_answered:2", "before_call:1"):
        assert die(hub, crash_at), crash_at
    hub.assert_archived(hub.archive())
