"""The comparison of a hub with the index: any hub and any index against the rule in plain Python, and after a repair
there is no difference.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.asff import row
from airflow_provider_tenable.staging.location import open_path
from airflow_provider_tenable.state import latest as module
from airflow_provider_tenable.state.hub_audit import GHOST, MISSING, STALE, HubAudit
from airflow_provider_tenable.state.hub_rows import OURS, hub_rows
from airflow_provider_tenable.state.index import FindingIndex
from tests.unit.state.rows import ACCOUNT, DAY, NOW, finding_id, held, table

LABELS = ["INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL"]
BEGAN = NOW + DAY


def moment(milliseconds: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def document(number: int, **change: Any) -> dict[str, Any]:
    usual = {
        "Id": finding_id(number),
        "RecordState": "ACTIVE",
        "UpdatedAt": moment(NOW - 2 * DAY),
        "AwsAccountId": ACCOUNT,
        "ProductFields": {OURS: "00000000-0000-0000-0000-000000000000", "aws/securityhub/ProductName": "x"},
        "FindingProviderFields": {"Severity": {"Label": "HIGH", "Original": "high"}, "Types": ["a/b"]},
        "Severity": {"Label": "HIGH", "Normalized": 70},
        "GeneratorId": str(number),
        "FirstObservedAt": moment(NOW - 9 * DAY),
        "Workflow": {"Status": "NEW"},
        "Resources": [{"Id": "x"}],
    }
    return {**usual, **change}


HUB = st.dictionaries(
    st.integers(0, 12),
    st.fixed_dictionaries(
        {
            "RecordState": st.sampled_from(["ACTIVE", "ARCHIVED"]),
            "label": st.sampled_from(LABELS[2:]),
            "UpdatedAt": st.sampled_from([NOW - 3 * DAY, NOW - 2 * DAY, NOW - DAY, BEGAN]),
        }
    ),
)
INDEX = st.dictionaries(
    st.integers(0, 12),
    st.fixed_dictionaries(
        {
            "archived": st.booleans(),
            "severity": st.integers(2, 4),
            "content": st.integers(0, 2),
            "sent_at": st.sampled_from([NOW - DAY, BEGAN]),
        }
    ),
)


def index_of(folder: Any, rows: dict[int, dict[str, Any]], merged: int) -> FindingIndex:
    index = FindingIndex(open_path(f"file://{folder}"))
    made = [held(number, **row) for number, row in rows.items()]
    if made[:merged]:
        index.add(table(*made[:merged]))
        index.merge(now=NOW)
    if made[merged:]:
        index.add(table(*made[merged:]))
    return index


def documents_of(hub: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        document(
            number,
            RecordState=each["RecordState"],
            UpdatedAt=moment(each["UpdatedAt"]),
            FindingProviderFields={"Severity": {"Label": each["label"]}},
            Severity={"Label": each["label"]},
        )
        for number, each in hub.items()
    ]


def audited(index: FindingIndex | None, documents: list[dict[str, Any]], **options: Any) -> tuple[HubAudit, list[Any]]:
    rows, others, unreadable = hub_rows(documents, ACCOUNT)
    assert (others, unreadable) == (0, 0)
    audit = HubAudit(index and index.snapshot(), began=BEGAN, **options)
    # In two pages, one of which has what the other has.
    repairs = list(audit.repairs([rows.slice(0, 5), rows.slice(3)], rows=len(rows)))
    return audit, repairs


def plain(hub: dict[int, dict[str, Any]], index: dict[int, dict[str, Any]]) -> dict[str, set[int]]:
    """What is wrong, without what was sent or changed since the audit began."""
    found: dict[str, set[int]] = {MISSING: set(), GHOST: set(), STALE: set()}
    for number in hub.keys() | index.keys():
        shown, known = hub.get(number), index.get(number)
        if (shown and shown["UpdatedAt"] >= BEGAN) or (known and known["sent_at"] >= BEGAN):
            continue
        active = bool(shown and shown["RecordState"] == "ACTIVE")
        if known is None:
            if active:
                found[GHOST].add(number)
        elif shown is None:
            if not known["archived"]:
                found[MISSING].add(number)
        elif active == known["archived"] or (active and LABELS.index(shown["label"]) != known["severity"]):
            found[STALE].add(number)
    return found


@settings(max_examples=80, deadline=None)
@given(HUB, INDEX, st.integers(0, 12), st.integers(1, 6))
def test_any_hub_and_any_index(
    tmp_path_factory: pytest.TempPathFactory,
    hub: dict[int, dict[str, Any]],
    rows: dict[int, dict[str, Any]],
    merged: int,
    at_once: int,
) -> None:
    index = index_of(tmp_path_factory.mktemp("index"), rows, merged)
    expected = plain(hub, rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "AT_ONCE", at_once)
        audit, repairs = audited(index, documents_of(hub))
        counts = {kind: len(numbers) for kind, numbers in expected.items() if numbers}
        assert audit.differences.counts == counts
        examples = {identity for ids in audit.differences.examples.values() for identity in ids}
        assert examples <= {finding_id(number) for numbers in expected.values() for number in numbers}
        everyone = audit.differences.total + audit.differences.equal + audit.differences.moving
        assert everyone == len(hub.keys() | rows.keys())
        for each in repairs:
            index.add(each)
        again, _ = audited(index, documents_of(hub))
    assert again.differences.counts == {}


def test_after_a_repair_the_row_says_what_the_hub_shows(tmp_path: Any) -> None:
    rows = {1: {"archived": True, "content": 7}, 2: {"severity": 2, "content": 7}, 3: {"content": 7}}
    index = index_of(tmp_path, rows, 3)
    _, repairs = audited(index, [document(1), document(2), document(4)])
    found = {row["plugin"]: row for each in repairs for row in each.to_pylist()}
    assert {number: (row["archived"], row["severity"], row["content"]) for number, row in found.items()} == {
        1: (False, 3, 0),
        2: (False, 3, 0),
        3: (True, 3, 0),
        4: (False, 3, 0),
    }
    # The repair counts more than the row that it repairs, and no more than that.
    assert {number: row["sent_at"] for number, row in found.items()} == {
        1: NOW - DAY + 1,
        2: NOW - DAY + 1,
        3: NOW - DAY + 1,
        4: 0,
    }
    assert {row["updated_at"] for row in found.values()} == {NOW - 2 * DAY}
    # Any row that is made of a receipt counts more than that of a ghost.
    assert found[4]["as_of"] == 0
    assert (found[4]["resource"] + found[4]["place"], found[4]["first_observed"]) == (finding_id(4), NOW - 9 * DAY)


def test_without_an_index_everything_active_is_a_ghost(tmp_path: Any) -> None:
    audit, repairs = audited(None, [document(1), document(2, RecordState="ARCHIVED")])
    assert audit.differences.counts == {GHOST: 1}
    assert sum(map(len, repairs)) == 1


def test_a_sample_looks_at_its_resources_only(tmp_path: Any) -> None:
    index = index_of(tmp_path, {number: {} for number in range(12)}, 12)
    prefix = finding_id(3).rsplit("/", 3)[0]
    audit, _ = audited(index, [], in_scope=lambda resource: resource.startswith(prefix))
    assert audit.differences.counts == {MISSING: 3}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, (1, 0, 0)),
        ({"ProductFields": {"other/x": "y"}}, (0, 1, 0)),
        ({"ProductFields": {}}, (0, 1, 0)),
        ({"AwsAccountId": "999999999999"}, (0, 1, 0)),
        ({"Id": 7}, (0, 0, 1)),
        ({"UpdatedAt": "yesterday"}, (0, 0, 1)),
        ({"ProductFields": [1]}, (0, 0, 1)),
        ({"FindingProviderFields": "x"}, (0, 0, 1)),
        ({"GeneratorId": "9" * 50, "FirstObservedAt": "", "FindingProviderFields": {}}, (1, 0, 0)),
        ({"Id": "x" * 400 + "/é\x1b"}, (1, 0, 0)),
    ],
)
def test_documents_that_are_not_ours_or_odd(change: dict[str, Any], expected: tuple[int, int, int]) -> None:
    rows, others, unreadable = hub_rows([document(1, **change)], ACCOUNT)
    assert (rows.num_rows, others, unreadable) == expected


def row_of(**change: Any) -> dict[str, Any]:
    (found,) = hub_rows([document(1, **change)], ACCOUNT)[0].to_pylist()
    return dict(found)


def test_a_row_has_what_the_document_says() -> None:
    identity, asset = finding_id(7), "0a0b0c0d-0000-0000-0000-000000000001"
    assert row_of(Id=identity, GeneratorId="19506", ProductFields={OURS: asset}) == {
        "key": row.key_of(identity),
        "resource": row.split_id(identity)[0],
        "place": row.split_id(identity)[1],
        "asset": row.asset_key(asset),
        "plugin": 19506,
        "archived": False,
        "severity": LABELS.index("HIGH"),
        "content": row.UNKNOWN_CONTENT,
        "updated_at": NOW - 2 * DAY,
        "as_of": 0,
        "sent_at": 0,
        "first_observed": NOW - 9 * DAY,
        "changed": False,
    }
    assert row_of(RecordState="ARCHIVED")["archived"] is True


@pytest.mark.parametrize(
    ("change", "name", "value"),
    [
        ({"FirstObservedAt": "", "CreatedAt": moment(NOW - DAY)}, "first_observed", NOW - DAY),
        ({"FirstObservedAt": "soon", "CreatedAt": "soon"}, "first_observed", NOW - 2 * DAY),
        ({"FindingProviderFields": {"Severity": {"Label": "LOW"}}}, "severity", LABELS.index("LOW")),
        ({"FindingProviderFields": {}, "Severity": {"Label": "LOW"}}, "severity", LABELS.index("LOW")),
        ({"FindingProviderFields": {"Severity": {"Label": "ODD"}}}, "severity", 0),
        ({"GeneratorId": "a"}, "plugin", 0),
        ({"GeneratorId": "\u0663"}, "plugin", 0),
        ({"GeneratorId": "9" * 19}, "plugin", row.plugin_number(int("9" * 19))),
        ({"GeneratorId": "9" * 20}, "plugin", 0),
        ({"VerificationState": "UNKNOWN"}, "changed", False),
        ({"VerificationState": None}, "changed", False),
        ({"Severity": {}}, "changed", False),
        ({"FindingProviderFields": {}}, "changed", False),
    ],
)
def test_what_a_document_does_not_say_is_taken_from_elsewhere(change: dict[str, Any], name: str, value: Any) -> None:
    assert row_of(**change)[name] == value


def test_documents_that_are_not_ours_hide_none_of_ours() -> None:
    documents: list[Any] = [
        5,
        document(1, ProductFields={}),
        document(2),
        None,
        document(3, AwsAccountId="1"),
        document(4),
    ]
    rows, others, unreadable = hub_rows(documents, ACCOUNT)
    assert (rows["plugin"].to_pylist(), others, unreadable) == ([2, 4], 2, 2)


@pytest.mark.parametrize("at_once", [2, 1_000])
def test_of_each_kind_a_few_examples_are_named(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(module, "AT_ONCE", at_once)
    index = index_of(tmp_path, {number: {} for number in range(7)}, 7)
    documents = [document(number, Note={"Text": "x"} if number % 2 else None) for number in range(10, 20)]
    assert audited(index, documents)[0].differences.changed_by_customer == 5
    audit, repairs = audited(index, documents[:2])
    examples = audit.differences.examples
    assert (audit.differences.counts, sum(map(len, repairs))) == ({MISSING: 7, GHOST: 2}, 9)
    assert set(examples[GHOST]) == {finding_id(10), finding_id(11)}
    assert len(set(examples[MISSING])) == 5
    assert set(examples[MISSING]) < {finding_id(number) for number in range(7)}


def test_things_that_are_no_documents_cannot_be_read() -> None:
    assert hub_rows([None, 1, "x", [], {}], ACCOUNT)[2] == 5


@pytest.mark.parametrize(
    "change",
    [
        {"Workflow": {"Status": "SUPPRESSED"}},
        {"Note": {"Text": "ours"}},
        {"UserDefinedFields": {"team": "a"}},
        {"VerificationState": "TRUE_POSITIVE"},
        {"Severity": {"Label": "LOW"}},
    ],
    ids=str,
)
def test_what_the_customer_has_worked_on_is_counted(change: dict[str, Any], tmp_path: Any) -> None:
    audit, _ = audited(index_of(tmp_path, {1: {}, 2: {}}, 2), [document(1, **change), document(2)])
    assert (audit.differences.changed_by_customer, audit.differences.counts) == (1, {})
