"""Findings whose risk is accepted: who suppresses what, whatever people do in between and wherever a process dies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.exceptions import DestinationRefusedError, TemporaryError
from airflow_provider_tenable.guards.foreign_text import LONGEST_CODE, LONGEST_MESSAGE, safe
from airflow_provider_tenable.security_hub.archive_documents import DeniedError
from airflow_provider_tenable.security_hub.assignment import Target
from airflow_provider_tenable.security_hub.workflow import (
    ACCEPTED_TEXT,
    ENDED_TEXT,
    NOTE,
    TAKEN_BACK,
    WORKFLOW,
    AcceptedWorkflow,
    Key,
)
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.state import accepted
from airflow_provider_tenable.state.accepted import NOT_VISIBLE, settle_accepted
from airflow_provider_tenable.state.accepted_record import AcceptedOutcome, read_outcome
from airflow_provider_tenable.state.accepted_staged import Staged

ACCOUNT, REGION, ARN, BY = "111122223333", "eu-west-1", "arn:aws:securityhub:eu-west-1::product/a/b", "provider/dag"
TARGET = Target(ACCOUNT, REGION, None, None, [("part", 3)])


class Killed(BaseException):
    """The process is gone."""


class Hub:
    """What a hub holds, by id, as GetFindings and BatchUpdateFindings show and change it."""

    def __init__(self, *ids: str) -> None:
        self.findings: dict[str, dict[str, Any]] = {each: self.new(each) for each in ids}
        self.hidden: set[str] = set()
        self.updates: list[tuple[str, str]] = []
        #: What happens at a call for updates: nothing, or the process dies before it or after it.
        self.dies = ""
        self.refuses: dict[str, str] = {}

    @staticmethod
    def new(finding_id: str) -> dict[str, Any]:
        return {
            "Id": finding_id,
            "ProductArn": ARN,
            "AwsAccountId": ACCOUNT,
            "Region": REGION,
            "Workflow": {"Status": "NEW"},
        }

    def status(self, finding_id: str) -> str:
        return str(self.findings[finding_id]["Workflow"]["Status"])

    def read_page(
        self, filters: Mapping[str, Any], *, next_token: str | None = None, max_results: int = 100
    ) -> tuple[list[dict[str, Any]], str | None]:
        assert filters["AwsAccountId"] == [{"Value": ACCOUNT, "Comparison": "EQUALS"}]
        ids = {each["Value"] for each in filters.get("Id", ())}
        found = [each for each in self.findings.values() if each["Id"] not in self.hidden]
        if ids:
            return [each for each in found if each["Id"] in ids], None
        (by,), (status,) = filters["NoteUpdatedBy"], filters["WorkflowStatus"]
        return [
            each
            for each in found
            if each.get("Note", {}).get("UpdatedBy") == by["Value"] and each["Workflow"]["Status"] == status["Value"]
        ], None

    def batch_update_findings(self, identifiers: Sequence[dict[str, str]], fields: Mapping[str, Any]) -> dict[str, Any]:
        if self.dies == "before":
            raise Killed
        failed = []
        for each in identifiers:
            if each["Id"] in self.refuses:
                failed.append({"FindingIdentifier": each, "ErrorCode": self.refuses[each["Id"]], "ErrorMessage": "no"})
                continue
            self.findings[each["Id"]].update(fields)
            self.updates.append((each["Id"], fields["Workflow"]["Status"]))
        if self.dies == "after":
            raise Killed
        done = [each for each in identifiers if each["Id"] not in self.refuses]
        return {"ProcessedFindings": done, "UnprocessedFindings": failed}


def workflow(hub: Any) -> AcceptedWorkflow:
    return AcceptedWorkflow(hub, ACCOUNT, REGION, BY, clock=lambda: 0.0, sleep=lambda seconds: None)


def key(finding_id: str) -> Key:
    return finding_id, ARN


@pytest.fixture
def run(tmp_path: Any) -> RunFolder:
    return RunFolder(f"file://{tmp_path}", "dag", "run-1")


def settle(
    run: RunFolder,
    hub: Hub,
    accepts: set[str],
    *,
    known: set[str] | None = None,
    sent: set[str] | None = None,
    fresh: set[str] | None = None,
    **more: Any,
) -> AcceptedOutcome:
    """What a run does that knows of some findings whether their risk is accepted."""
    known = set(hub.findings) if known is None else known

    def staged(folder: Any, target: Any, ours: set[Key], *, dry_run: bool) -> Any:
        assert (folder, target, dry_run) == (run, TARGET, more.get("dry_run", False))
        keys = {key(each) for each in known & accepts}
        return Staged(
            sorted(keys - ours),
            {key(each) for each in sent or ()},
            {key(each) for each in fresh or ()},
            keys & ours,
            {key(each) for each in known - accepts} & ours,
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accepted, "staged_accepted", staged)
        usual = {"suppresses": True, "dry_run": False}
        done = settle_accepted(run, TARGET, workflow(hub), **{**usual, **more})
    folder = run.compared(ACCOUNT, REGION)
    assert [path.name for path in folder.parent.parent.iterdir()] == [ACCOUNT]
    assert [path.name for path in folder.parent.iterdir()] == [REGION]
    outcome = read_outcome(folder, TARGET.parts)
    assert outcome is not None
    assert outcome.complete == done
    return outcome


def test_what_is_accepted_is_suppressed_and_becomes_new_when_that_ends(tmp_path):
    hub = Hub("a", "b", "c")
    outcome = settle(RunFolder(f"file://{tmp_path}", "dag", "1"), hub, {"a", "b"})
    assert (outcome.suppressed, outcome.reopened, outcome.kept) == (2, 0, 0)
    assert [hub.status(each) for each in "abc"] == ["SUPPRESSED", "SUPPRESSED", "NEW"]
    assert hub.findings["a"]["Note"] == {"Text": ACCEPTED_TEXT, "UpdatedBy": BY}
    assert "Note" not in hub.findings["c"]

    outcome = settle(RunFolder(f"file://{tmp_path}", "dag", "2"), hub, {"b"}, known={"a", "b"})
    assert (outcome.suppressed, outcome.reopened, outcome.kept) == (0, 1, 1)
    assert [hub.status(each) for each in "abc"] == ["NEW", "SUPPRESSED", "NEW"]
    assert hub.findings["a"]["Note"]["Text"] == ENDED_TEXT

    # Accepted once more: nobody has taken it back, so it is suppressed again. What the run does not know of stays.
    outcome = settle(RunFolder(f"file://{tmp_path}", "dag", "3"), hub, {"a"}, known={"a"})
    assert (outcome.suppressed, outcome.reopened) == (1, 0)
    assert [hub.status(each) for each in "abc"] == ["SUPPRESSED", "SUPPRESSED", "NEW"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"Workflow": {"Status": "SUPPRESSED"}}, WORKFLOW),
        ({"Workflow": {"Status": "RESOLVED"}}, WORKFLOW),
        ({"Workflow": {"Status": "NOTIFIED"}}, WORKFLOW),
        ({"Workflow": {"Status": "SUPPRESSED"}, "Note": {"Text": ACCEPTED_TEXT, "UpdatedBy": "me"}}, WORKFLOW),
        ({"Workflow": "?"}, WORKFLOW),
        ({"Note": {"Text": "mine", "UpdatedBy": "me"}}, NOTE),
        ({"Note": {"Text": ENDED_TEXT, "UpdatedBy": "provider/another-dag"}}, NOTE),
        ({"Note": "?"}, NOTE),
        ({"Note": {"Text": ACCEPTED_TEXT, "UpdatedBy": BY}}, TAKEN_BACK),
    ],
    ids=str,
)
def test_what_a_person_works_on_is_left_alone(run, change, why):
    hub = Hub("a")
    hub.findings["a"].update(change)
    before = dict(hub.findings["a"])
    found = workflow(hub).look_at([key("a")])
    assert (found.suppress, dict(found.left)) == ([], {why: 1})
    if isinstance(before["Workflow"], dict) and before.get("Note") != "?":
        outcome = settle(run, hub, {"a"})
        assert (hub.findings["a"], outcome.left) == (before, {why: 1})
        outcome = settle(run.beside("2"), hub, set())
        assert (hub.findings["a"], outcome.reopened) == (before, 0)


@pytest.mark.parametrize("dies", ["before", "after"])
@pytest.mark.parametrize("accepts", [True, False])
def test_a_process_that_dies_at_a_call_is_continued_and_counted_once(run, dies, accepts):
    hub = Hub("a", "b")
    wanted = {"a", "b"} if accepts else set()
    if not accepts:
        settle(run.beside("earlier"), hub, {"a", "b"})
    hub.dies = dies
    with pytest.raises(Killed):
        settle(run, hub, wanted)
    hub.dies = ""
    outcome = settle(run, hub, wanted)
    assert (outcome.suppressed, outcome.reopened, outcome.kept) == ((2, 0, 0) if accepts else (0, 2, 0))
    assert {hub.status(each) for each in "ab"} == {"SUPPRESSED" if accepts else "NEW"}
    # Repeated once more, it does nothing, and says the same.
    updates = list(hub.updates)
    assert settle(run, hub, wanted) == outcome
    assert hub.updates == updates


def test_a_run_waits_for_what_the_hub_does_not_show_yet_but_not_for_ever(run):
    hub = Hub("a", "b")
    hub.hidden = {"a"}
    now = [1000.0]
    outcome = settle(run, hub, {"a", "b"}, sent={"a", "b"}, clock=lambda: now[0])
    assert (outcome.complete, outcome.suppressed) == (False, 1)
    hub.hidden = set()
    outcome = settle(run, hub, {"a", "b"}, sent={"a", "b"}, clock=lambda: now[0])
    assert (outcome.complete, outcome.suppressed, outcome.not_done) == (True, 2, {})

    other = run.beside("2")
    hub = Hub("a", "b")
    hub.hidden = {"a", "b"}
    assert not settle(other, hub, {"a", "b"}, sent={"a"}, clock=lambda: now[0]).complete
    now[0] += accepted.VISIBLE_SECONDS
    outcome = settle(other, hub, {"a", "b"}, sent={"a"}, clock=lambda: now[0])
    assert (outcome.complete, outcome.not_done) == (True, {NOT_VISIBLE: 2})
    hub.hidden = {"a"}
    last = run.beside("4")
    assert not settle(last, hub, {"a"}, sent={"a"}, clock=lambda: now[0]).complete
    now[0] += accepted.VISIBLE_SECONDS - 1
    assert not settle(last, hub, {"a"}, sent={"a"}, clock=lambda: now[0]).complete
    now[0] += 1
    assert settle(last, hub, {"a"}, sent={"a"}, clock=lambda: now[0]).not_done == {NOT_VISIBLE: 1}
    hub.hidden = {"a", "b"}
    # For what an earlier run has sent, nobody waits.
    assert settle(run.beside("3"), hub, {"b"}).not_done == {NOT_VISIBLE: 1}


def test_a_dry_run_changes_nothing_and_says_what_it_would(run):
    hub = Hub("a", "b", "c")
    settle(run.beside("earlier"), hub, {"a"})
    updates = list(hub.updates)
    hub.findings["d"] = {**Hub.new("d"), "Note": {"Text": "mine", "UpdatedBy": "me"}}
    # What it would be the first to send is not there, and would be suppressed too.
    outcome = settle(run, hub, {*"bcd", "new"}, known={*"abcd", "new"}, fresh={"new"}, dry_run=True)
    assert (outcome.suppressed, outcome.reopened, outcome.kept, outcome.left) == (3, 1, 0, {NOTE: 1})
    assert (outcome.complete, outcome.not_done) == (True, {})
    outcome = settle(run.beside("2"), hub, set("a"), dry_run=True)
    assert (outcome.suppressed, outcome.reopened, outcome.kept) == (0, 0, 1)
    assert hub.updates == updates


def test_without_the_option_all_that_was_suppressed_becomes_new(run):
    hub = Hub("a", "b", "c")
    settle(run.beside("earlier"), hub, {"a", "b"})
    hub.findings["c"]["Workflow"] = {"Status": "SUPPRESSED"}
    outcome = settle(run, hub, {"a"}, suppresses=False)
    assert (outcome.suppressed, outcome.reopened) == (0, 2)
    assert [hub.status(each) for each in "abc"] == ["NEW", "NEW", "SUPPRESSED"]


def test_what_security_hub_refuses_is_counted_by_its_code(run):
    hub = Hub(*"abcde")
    hub.refuses = {"a": "InvalidInput", "b": "InvalidInput", "c": "", "d": "C" * 999}
    codes = {"InvalidInput": 2, "no_code": 1, safe("C" * 999, LONGEST_CODE): 1}
    outcome = settle(run, hub, set(hub.findings))
    assert (outcome.suppressed, outcome.not_done) == (1, codes)
    # And so it is where they are to be NEW again.
    for each in hub.findings.values():
        each.update({"Workflow": {"Status": "SUPPRESSED"}, "Note": {"Text": ACCEPTED_TEXT, "UpdatedBy": BY}})
    outcome = settle(run.beside("2"), hub, set())
    assert (outcome.reopened, outcome.not_done) == (1, codes)


def test_any_number_of_findings_is_looked_at_and_each_is_counted():
    hub = Hub(*map(str, range(65)))
    for number in (0, 21, 64):
        hub.findings[str(number)]["Note"] = {"Text": "mine", "UpdatedBy": "me"}
    hub.findings["5"]["Workflow"] = {"Status": "RESOLVED"}
    hub.hidden = {"10", "63"}
    found = workflow(hub).look_at([key(each) for each in hub.findings])
    assert (found.left, found.unseen) == ({NOTE: 3, WORKFLOW: 1}, [key("10"), key("63")])
    others = {"0", "21", "64", "5", "10", "63"}
    assert found.suppress == [key(each) for each in hub.findings if each not in others]


@pytest.mark.parametrize("status", [None, {}, {"Status": "NEW"}])
def test_a_finding_without_a_status_is_new(status):
    hub = Hub("a")
    hub.findings["a"]["Workflow"] = status
    assert workflow(hub).look_at([key("a")]).suppress == [key("a")]


@pytest.mark.parametrize("operation", ["GetFindings", "BatchUpdateFindings"])
def test_a_missing_permission_is_on_record_and_no_refusal_of_findings(run, operation):
    hub = Hub("a")
    message = f"User is not authorized to perform: securityhub:{operation}"
    error = ClientError({"Error": {"Code": "AccessDeniedException", "Message": message}}, operation)

    def denied(*given: Any, **more: Any) -> Any:
        raise error

    setattr(hub, "read_page" if operation == "GetFindings" else "batch_update_findings", denied)
    outcome = settle(run, hub, {"a"})
    assert outcome.complete
    assert operation in outcome.why_not
    with pytest.raises((DeniedError, DestinationRefusedError)) as refused:
        (workflow(hub).ours if operation == "GetFindings" else lambda: workflow(hub).suppress([key("a")]))()
    # What AWS says and what to do about it, not only which permission it is.
    assert outcome.why_not == safe(getattr(refused.value, "explanation", refused.value), LONGEST_MESSAGE)


@pytest.mark.parametrize(
    "change",
    [{"Region": "us-east-1"}, {"AwsAccountId": "1"}, {"Id": 7}, {"Workflow": {"Status": "NEW"}}, {"Note": None}],
    ids=str,
)
def test_a_finding_that_was_not_asked_for_stops_everything(run, change):
    hub = Hub("a")
    hub.findings["a"].update({"Workflow": {"Status": "SUPPRESSED"}, "Note": {"Text": ACCEPTED_TEXT, "UpdatedBy": BY}})
    hub.findings["a"].update(change)
    hub.read_page = lambda *given, **more: (list(hub.findings.values()), None)  # type: ignore[method-assign]
    with pytest.raises(TemporaryError, match="does something else answer"):
        settle(run, hub, set())


_IDS = "abcd"
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("accept"), st.sampled_from(_IDS)),
        st.tuples(st.just("end"), st.sampled_from(_IDS)),
        st.tuples(
            st.sampled_from(["workflow", "workflow_and_note"]),
            st.sampled_from(_IDS),
            st.sampled_from(["NEW", "NOTIFIED", "RESOLVED", "SUPPRESSED"]),
        ),
        st.tuples(st.just("note"), st.sampled_from(_IDS)),
        st.tuples(st.just("run"), st.sets(st.sampled_from(_IDS)), st.sampled_from(["", "before", "after"])),
    ),
    max_size=14,
)


@given(_STEPS)
@settings(max_examples=150, deadline=None)
def test_nobody_s_decision_is_lost_and_nothing_stays_suppressed(tmp_path_factory, steps):
    root = RunFolder(f"file://{tmp_path_factory.mktemp('s')}", "dag", "0")
    hub, accepts = Hub(*_IDS), set[str]()
    for number, (what, *about) in enumerate(steps, 1):
        if what == "accept":
            accepts.add(about[0])
        elif what == "end":
            accepts.discard(about[0])
        elif what.startswith("workflow"):
            hub.findings[about[0]]["Workflow"] = {"Status": about[1]}
            if what.endswith("note"):
                hub.findings[about[0]]["Note"] = {"Text": "mine", "UpdatedBy": "me"}
        elif what == "note":
            hub.findings[about[0]]["Note"] = {"Text": "mine", "UpdatedBy": "me"}
        else:
            known, hub.dies = about
            before = {each: dict(finding) for each, finding in hub.findings.items()}
            run = root.beside(str(number))
            try:
                settle(run, hub, accepts, known=known)
            except Killed:
                hub.dies = ""
                settle(run, hub, accepts, known=known)
            hub.dies = ""
            for each, finding in before.items():
                after, note = hub.findings[each], finding.get("Note", {})
                ours = note.get("UpdatedBy") == BY
                suppressed_by_us = ours and finding["Workflow"]["Status"] == "SUPPRESSED"
                if each not in known or (not ours and note) or (not suppressed_by_us and hub_is_busy(finding)):
                    assert after == finding
                elif suppressed_by_us:
                    assert hub.status(each) == ("SUPPRESSED" if each in accepts else "NEW")
                elif each not in accepts or note.get("Text") == ACCEPTED_TEXT:
                    assert after == finding
                else:
                    assert hub.status(each) == "SUPPRESSED"
                assert {**after, "Workflow": 0, "Note": 0} == {**finding, "Workflow": 0, "Note": 0}


def hub_is_busy(finding: dict[str, Any]) -> bool:
    return bool(finding["Workflow"]["Status"] != "NEW")
