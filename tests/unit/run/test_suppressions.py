"""Which accept rule a suppressed finding asks for, and that a note makes one rule."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_tenable.exceptions import ConfigurationError, DestinationRefusedError, TemporaryError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.run.suppressions import (
    check_direction,
    lines_of,
    make_rules,
    read_suppressed,
    rule_of,
)
from airflow_provider_tenable.tenable_vm.recast_rules import LONGEST, AcceptRule, Condition

ASSET, ACCOUNT, REGION = "11111111-2222-4333-8444-555555555555", "111122223333", "eu-west-1"
PREFIX = "tenable/vulnerability-management/"
FIELDS = {"asset_uuid": ASSET, "asset_name": "web-1", "port": "443", "protocol": "TCP"}
NOTE = {"Text": "Behind a WAF.", "UpdatedBy": "ada", "UpdatedAt": "2026-01-01T00:00:00Z"}
EXPIRES = 1_800_000_000.0


def finding(fields: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "Id": f"{REGION}/{ACCOUNT}/i-1/19506/tcp/443",
        "AwsAccountId": ACCOUNT,
        "Region": REGION,
        "GeneratorId": "19506",
        "Workflow": {"Status": "SUPPRESSED"},
        "Note": NOTE,
        "ProductFields": {PREFIX + name: value for name, value in {**FIELDS, **(fields or {})}.items()},
        **changes,
    }


def rule(value: dict[str, Any]) -> AcceptRule:
    found = rule_of(value, expires_at=EXPIRES)
    assert isinstance(found, AcceptRule)
    return found


def test_a_rule_is_for_one_finding_and_says_who_and_why():
    body = rule(finding()).body
    assert body["rule_name"].startswith("Security Hub CSPM: plugin 19506 on web-1 [airflow ")
    assert body["description"] == "Suppressed in AWS Security Hub CSPM, 111122223333/eu-west-1, by ada: Behind a WAF."
    assert body["rule_value"] == {"action": "ACCEPT", "comment": "Behind a WAF."}
    assert body["filter"]["and"] == [
        {"property": "asset.id", "operator": "eq", "value": [ASSET]},
        {"property": "definition.id", "operator": "eq", "value": ["19506"]},
        {"property": "port", "operator": "eq", "value": ["443"]},
        {"property": "protocol", "operator": "eq", "value": ["TCP"]},
    ]
    assert (body["resource_type"], body["expires_at"]) == ("HOST", "2027-01-15T08:00:00Z")


def test_an_id_of_the_old_tool_stands_for_all_ports():
    found = rule(finding(Id=f"{REGION}/i-1/19506"))
    assert found.conditions == [Condition("asset.id", ASSET), Condition("definition.id", "19506")]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (finding(Note=None), "without_note"),
        (finding(Note={"Text": " \n", "UpdatedBy": "ada"}), "without_note"),
        (finding(Note={"Text": "why"}), "without_note"),
        (finding(Note="why"), "without_note"),
        (finding(Note={"Text": "x", "UpdatedBy": "airflow-provider-tenable/dag"}), "by_a_run"),
        (finding({"severity_modification": "ACCEPTED"}), "accepted_already"),
        (finding({"asset_uuid": "*"}), "not_ours"),
        (finding({"port": "443; drop"}), "not_ours"),
        (finding({"protocol": "*"}), "not_ours"),
        (finding(GeneratorId="abc"), "not_ours"),
        (finding(GeneratorId=19506), "not_ours"),
        (finding(Id=None), "not_ours"),
        (finding(ProductFields=None), "not_ours"),
    ],
)
def test_others_ask_for_none(value, why):
    assert rule_of(value, expires_at=EXPIRES) == why


def test_another_note_is_another_rule_and_the_same_one_is_not():
    keys = {
        rule(each).key
        for each in (
            finding(),
            finding(Note={**NOTE, "UpdatedAt": "2026-06-01T00:00:00Z"}),
            finding(Note={**NOTE, "Text": "Other."}),
            finding(Id=f"{REGION}/{ACCOUNT}/i-2/19506/tcp/443"),
        )
    }
    by_somebody_else = rule(finding(Note={**NOTE, "UpdatedBy": "grace"})).key
    assert len(keys | {by_somebody_else}) == 5
    assert rule(finding()).key in keys


def test_a_key_stays_what_it_is_for_rules_that_exist_are_found_by_it():
    assert rule(finding()).key == "b7e1c8db2ca59cd69c450210"
    # Not valid Unicode: half a surrogate pair.
    assert rule(finding(Note={**NOTE, "Text": "why \ud83d"})).key == "9b685638f9ecc27ae611f25c"


@given(st.text(min_size=1, max_size=3000), st.text(max_size=300), st.text(max_size=300))
def test_hostile_notes_and_names_stay_one_bounded_line(text, by, name):
    found = rule_of(finding({"asset_name": name}, Note={"Text": text, "UpdatedBy": f"x{by}"}), expires_at=EXPIRES)
    if not isinstance(found, AcceptRule):
        assert found == "without_note"
        return
    body = found.body
    for each in (body["rule_name"], body["description"], body["rule_value"]["comment"]):
        assert each.isprintable()
        assert 0 < len(each) <= LONGEST
    assert body["rule_name"].endswith(f" [airflow {found.key}]")


class Rules:
    def __init__(self, **existing: bool) -> None:
        self.existing = existing
        self.made: list[str] = []

    def ours(self) -> dict[str, bool]:
        return self.existing

    def accept(self, rule: AcceptRule) -> bool:
        self.made.append(rule.key)
        return rule.key != "duplicate"


def some(*keys: str) -> list[AcceptRule]:
    return [AcceptRule(key, key, "", "", (), EXPIRES) for key in keys]


def test_each_rule_is_made_once_and_one_that_has_ended_is_not_made_again():
    rules = Rules(there=True, ended=False)
    wanted = some("there", "ended", "ended", "a", "duplicate", "b", "c", "d")
    counts = make_rules(rules, wanted, dry_run=False, most=2)
    assert counts == Counter(created=2, existing=2, expired=2, later=2)
    assert rules.made == ["a", "duplicate", "b"]
    assert make_rules(rules, wanted, dry_run=True, most=9) == Counter(created=5, existing=1, expired=2)
    assert rules.made == ["a", "duplicate", "b"]


def test_what_became_of_findings_is_said_in_words():
    counts = Counter(
        created=1_000, existing=2, expired=3, later=4, without_note=5, by_a_run=6, accepted_already=7, not_ours=8
    )
    said = [
        "1,000 accept rules were created",
        "2 have a rule already",
        "3 had a rule that has ended: renew the note for another one",
        "4 wait for a later run, because of max_rules",
        "5 have no note, and so no rule",
        "6 were suppressed by a run of this provider",
        "7 have a risk that is accepted in Tenable already",
        "8 are not vulnerabilities of one asset",
    ]
    assert list(lines_of(counts, dry_run=False)) == said
    assert list(lines_of(counts, dry_run=True)) == ["1,000 accept rules would be created", *said[1:]]
    assert list(lines_of(Counter(existing=2), dry_run=False)) == said[1:2]


def test_long_texts_are_cut_each_by_itself():
    found = rule(finding({"asset_name": "n" * 500}, Note={"Text": "t" * 900, "UpdatedBy": "b" * 300}))
    assert found.title == f"Security Hub CSPM: plugin 19506 on {safe('n' * 500, 200)}"
    assert found.description.endswith(f", by {safe('b' * 300, 100)}: {safe('t' * 900, 700)}")
    assert found.comment == "t" * 900
    # Who has no name is called by the id.
    assert rule(finding({"asset_name": ""})).title.endswith(f" on {ASSET}")


@pytest.mark.parametrize(
    ("change", "is_rule"),
    [
        ({"port": "65535"}, True),
        ({"port": "123456"}, False),
        ({"port": "0"}, True),
        ({"port": "\u0663"}, False),
        ({"port": None}, False),
        ({"protocol": None}, False),
        ({"protocol": ""}, False),
    ],
)
def test_a_port_is_a_short_number_and_a_protocol_a_word(change, is_rule):
    assert isinstance(rule_of(finding(change), expires_at=EXPIRES), AcceptRule) is is_rule
    # A finding of the old tool has none.
    assert isinstance(rule_of(finding(change, Id=f"{REGION}/i-1/19506"), expires_at=EXPIRES), AcceptRule)


def test_a_plugin_is_a_number_of_at_most_fifteen_digits():
    assert isinstance(rule_of(finding(GeneratorId="9" * 15), expires_at=EXPIRES), AcceptRule)
    assert rule_of(finding(GeneratorId="9" * 16), expires_at=EXPIRES) == "not_ours"


def test_a_hub_is_read_for_what_is_suppressed_alone():
    asked: list[Any] = []

    def read_page(filters: Any, **more: Any) -> Any:
        asked.append(filters)
        return [finding(), finding(Note=None), finding(Note=None)], None

    found = read_suppressed(SimpleNamespace(read_page=read_page), ACCOUNT, REGION, ["arn"], expires_at=EXPIRES)
    wanted = rule(finding())
    assert (found.rules, found.left) == ({wanted.key: wanted}, Counter(without_note=2))
    assert {name: each[0]["Value"] for name, each in asked[0].items()} == {
        "ProductArn": "arn",
        "AwsAccountId": ACCOUNT,
        "Region": REGION,
        "WorkflowStatus": "SUPPRESSED",
        "RecordState": "ACTIVE",
    }


@pytest.mark.parametrize(
    "change",
    [{"Region": "us-east-1"}, {"AwsAccountId": "1"}, {"Workflow": {"Status": "NEW"}}, {"Workflow": "SUPPRESSED"}],
)
def test_what_was_not_asked_for_makes_no_rule(change):
    source = SimpleNamespace(read_page=lambda filters, **more: ([finding(**change)], None))
    with pytest.raises(TemporaryError, match="does something else answer"):
        read_suppressed(source, ACCOUNT, REGION, ["arn"], expires_at=EXPIRES)


def test_a_hub_that_refuses_says_so():
    def read_page(filters: Any, **more: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetFindings")

    with pytest.raises(DestinationRefusedError):
        read_suppressed(SimpleNamespace(read_page=read_page), ACCOUNT, REGION, ["arn"], expires_at=EXPIRES)


def test_only_one_side_decides():
    def last(**plan: Any) -> Any:
        return SimpleNamespace(plan={"settings": {"accepted_risks": "archive"}, **plan})

    check_direction(last(), "dag")
    # A plan of an older release.
    check_direction(last(settings={}), "dag")
    with pytest.raises(
        ConfigurationError, match=r"^'dag' suppresses findings .*: only one of the two may decide\. Set "
    ):
        check_direction(last(settings={"accepted_risks": "suppress"}), "dag")
    with pytest.raises(ConfigurationError, match=r"^'dag' imports compliance, and accept rules .* in import_dag_id\.$"):
        check_direction(last(kind="compliance"), "dag")
