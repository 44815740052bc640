"""Which findings are sent and why, against the finding index: one case for each line of the table, and any case against
the rule in plain Python.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.asff import row
from airflow_provider_tenable.state import compare as module
from airflow_provider_tenable.state import parts
from airflow_provider_tenable.state.compare import compare
from airflow_provider_tenable.state.verdicts import Moments, Verdict
from tests.unit.state.rows import DAY, NOW, held, staged, table

MOMENTS = Moments(planned=NOW, as_of=NOW - 1000, refresh=30 * DAY)
OLD = NOW - 31 * DAY


def decided(finding: dict[str, Any], *rows: dict[str, Any], moments: Moments = MOMENTS) -> tuple[str, int]:
    index = [parts.compared(parts.encode(table(each))) for each in rows]
    ((verdict, stamp),) = compare(
        [1], lambda _: staged({"number": 1, **finding}), index, [], moments
    ).decisions.tolist()
    assert compare([1], lambda _: staged({"number": 1, **finding}), [], index, moments).decisions.tolist() == [
        (verdict, stamp)
    ]
    return Verdict(verdict).key, stamp


@pytest.mark.parametrize(
    ("finding", "row", "expected"),
    [
        # Nothing of it in the index.
        ({}, None, ("created", 0)),
        ({"updated_at": OLD}, None, ("created", NOW)),
        ({"archived": True}, None, ("never_imported", 0)),
        # The same is there.
        ({}, {}, ("unchanged", 0)),
        ({"updated_at": OLD}, {}, ("unchanged", 0)),
        ({"archived": True}, {"archived": True}, ("unchanged", 0)),
        ({}, {"sent_at": OLD}, ("refreshed", NOW)),
        ({}, {"sent_at": OLD, "updated_at": NOW + 5}, ("refreshed", NOW + 6)),
        # What is archived Security Hub deletes after 30 days: it is not brought back.
        ({"archived": True}, {"archived": True, "sent_at": OLD}, ("unchanged", 0)),
        ({"archived": True, "content": 7}, {"archived": True, "sent_at": OLD}, ("unchanged", 0)),
        # Something else is there.
        ({"content": 7}, {}, ("updated", 0)),
        ({"content": 7, "updated_at": NOW - 2 * DAY}, {}, ("updated", NOW - 2 * DAY + 1)),
        ({"content": 7, "updated_at": NOW - 3 * DAY}, {}, ("updated", NOW - 2 * DAY + 1)),
        ({"content": 7, "updated_at": OLD}, {}, ("updated", NOW)),
        ({"content": 7, "updated_at": OLD}, {"updated_at": NOW}, ("updated", NOW + 1)),
        ({"archived": True}, {}, ("archived", 0)),
        ({"archived": True, "updated_at": NOW - 2 * DAY}, {}, ("archived", NOW - 2 * DAY + 1)),
        ({}, {"archived": True}, ("updated", 0)),
        ({"archived": True, "content": 7}, {"archived": True}, ("updated", 0)),
        # A content that nobody knows is never the same.
        ({"content": 0}, {"content": 0}, ("updated", 0)),
        # Archived before it was ever sent: the hub does not have it.
        ({"archived": True}, {"archived": True, "content": 0}, ("never_imported", 0)),
        ({}, {"archived": True, "content": 0}, ("created", 0)),
        ({}, {"archived": True, "content": 0, "as_of": NOW}, ("superseded", 0)),
        # The index knows it as of later.
        ({"content": 7}, {"as_of": NOW}, ("superseded", 0)),
        ({"content": 7, "as_of": NOW + 1}, {"as_of": NOW}, ("updated", 0)),
        ({"content": 7}, {"as_of": MOMENTS.as_of}, ("updated", 0)),
    ],
    ids=str,
)
def test_each_line_of_the_table(finding, row, expected):
    rows = [] if row is None else [held(1, **row)]
    verdict, stamp = decided(finding, *rows)
    assert (verdict, stamp if verdict in ("created", "updated", "archived", "refreshed") else 0) == expected


def test_a_run_older_than_the_last_full_one_brings_nothing_back():
    later = Moments(planned=NOW, as_of=NOW - 1000, refresh=30 * DAY, full_as_of=NOW - 500)
    assert decided({}, moments=later)[0] == "superseded"
    assert decided({"archived": True}, moments=later)[0] == "superseded"
    assert decided({"as_of": NOW - 400}, moments=later)[0] == "created"
    assert decided({"content": 7}, held(1), moments=later)[0] == "updated"


def test_where_the_hub_is_not_known_everything_is_sent_as_it_is():
    unknown = Moments(planned=NOW, as_of=NOW, refresh=30 * DAY, known=False)
    for finding in ({}, {"archived": True}, {"updated_at": OLD}):
        assert decided(finding, held(1), moments=unknown) == ("unknown", 0)


def test_a_full_run_makes_sure_that_the_hub_takes_what_is_sent():
    unknown = Moments(planned=NOW, as_of=NOW, refresh=30 * DAY, known=False, stamps=True, delivered_until=NOW - 3 * DAY)
    assert decided({}, moments=unknown) == ("unknown", NOW)
    assert decided({}, held(1, updated_at=NOW + 9), moments=unknown) == ("unknown", NOW + 10)
    assert decided({"archived": True}, moments=unknown) == ("unknown", NOW)
    # The runs before have archived it, if it ever was there.
    assert decided({"archived": True, "updated_at": NOW - 4 * DAY}, moments=unknown)[0] == "never_imported"
    # An accepted risk is as old as its last scan, and may have been accepted since.
    assert decided({"archived": True, "fixed": False, "updated_at": OLD}, moments=unknown) == ("unknown", NOW)


def test_of_several_findings_with_one_id_the_latest_is_sent_in_every_run():
    findings = [
        {"number": 1, "updated_at": NOW - DAY, "content": 5},
        {"number": 1, "updated_at": NOW - DAY, "content": 6},
        {"number": 1, "updated_at": NOW - 2 * DAY, "content": 9},
    ]
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        rows = staged(*(findings[number] for number in order))
        found = compare([3], lambda _, rows=rows: rows, [], [], MOMENTS).decisions
        sent = [order[place] for place in np.flatnonzero(found["verdict"] == Verdict.CREATED)]
        assert sent == [1]
        assert (found["verdict"] == Verdict.SUPERSEDED).sum() == 2


def test_nothing_staged_is_nothing_to_decide_and_the_index_is_not_read():
    def unread():
        raise AssertionError
        yield

    assert len(compare([], lambda _: staged(), unread(), unread(), MOMENTS).decisions) == 0


def test_keys_that_share_a_half_are_told_apart():
    """Half a key is not unique among ten million."""
    rows = [held(number, key=b"\x07" * 8 + bytes([number]) * 8) for number in (1, 2, 3, 5)]
    index = [parts.compared(parts.encode(parts.latest(table(*rows))))]
    keys = [b"\x07" * 8 + bytes([number]) * 8 for number in range(7)]
    found = compare(
        [7], lambda _: staged(*({"number": n, "key": keys[n]} for n in (4, 2, 6, 0, 1, 3, 5))), index, [], MOMENTS
    ).decisions
    verdicts = [Verdict(code).key for code in found["verdict"].tolist()]
    assert verdicts == ["created", "unchanged", "created", "created", "unchanged", "unchanged", "unchanged"]


MOMENT = st.sampled_from([NOW - 40 * DAY, NOW - 2 * DAY, NOW - DAY, NOW - 1001, NOW - 1000, NOW, NOW + 1])
STAGED = st.fixed_dictionaries(
    {
        "number": st.integers(0, 6),
        "archived": st.booleans(),
        "content": st.integers(0, 3),
        "updated_at": MOMENT,
        "as_of": st.sampled_from([0, NOW - 2 * DAY]),
    }
)
HELD = st.builds(
    lambda number, change: held(number, **change),
    st.integers(0, 6),
    st.fixed_dictionaries(
        {
            "archived": st.booleans(),
            "content": st.integers(0, 3),
            "updated_at": MOMENT,
            "as_of": MOMENT,
            "sent_at": MOMENT,
        }
    ),
)


def rank(row: dict[str, Any]) -> tuple[int, ...]:
    return (row["as_of"], row["updated_at"], row["sent_at"], row["archived"], row["content"])


def plain(findings: list[dict[str, Any]], rows: list[dict[str, Any]], moments: Moments) -> list[tuple[str, int]]:
    """The table again, one finding after the other."""
    latest: dict[int, dict[str, Any]] = {}
    for each in rows:
        number = each["plugin"]
        if number not in latest or rank(each) > rank(latest[number]):
            latest[number] = each
    winners: dict[int, tuple[Any, int]] = {}
    whole = [{**each, "as_of": each["as_of"] or moments.as_of} for each in findings]
    for place, each in enumerate(whole):
        order = (each["as_of"], each["updated_at"], each["content"], place)
        winners[each["number"]] = max(winners.get(each["number"], ((), -1)), (order, place))
    answers = []
    for place, each in enumerate(whole):
        if winners[each["number"]][1] != place:
            answers.append(("superseded", 0))
        else:
            answers.append(alone(each, latest.get(each["number"]), moments))
    return answers


def alone(finding: dict[str, Any], row: dict[str, Any] | None, moments: Moments) -> tuple[str, int]:
    planned, month = moments.planned, 30 * DAY
    stamp = planned if finding["updated_at"] < planned - moments.refresh else finding["updated_at"]
    if row is None:
        if moments.full_as_of is not None and finding["as_of"] < moments.full_as_of:
            return "superseded", 0
        return ("never_imported", 0) if finding["archived"] else ("created", stamp)
    floor = row["updated_at"] + 1
    if row["as_of"] > finding["as_of"]:
        return "superseded", 0
    if row["archived"] and row["content"] == 0:
        return ("never_imported", 0) if finding["archived"] else ("created", max(stamp, floor))
    if finding["archived"] and row["archived"] and row["sent_at"] < planned - month:
        return "unchanged", 0
    if finding["archived"] == row["archived"] and finding["content"] == row["content"] != 0:
        if finding["archived"] or row["sent_at"] > planned - moments.refresh:
            return "unchanged", 0
        return "refreshed", max(planned, floor)
    if finding["archived"] and not row["archived"]:
        return "archived", max(stamp, floor)
    return "updated", max(stamp, floor)


@settings(max_examples=150, deadline=None)
@given(st.lists(STAGED, max_size=12), st.lists(HELD, max_size=10), st.integers(1, 4), st.integers(1, 5), st.data())
def test_any_findings_against_any_index_follow_the_table(findings, rows, at_once, of_a_part, data):
    moments = Moments(
        planned=NOW, as_of=NOW - 1000, refresh=30 * DAY, full_as_of=data.draw(st.sampled_from([None, NOW - DAY]))
    )
    merged = data.draw(st.integers(0, len(rows)))
    whole = parts.latest(table(*rows[:merged]))
    ordered = [whole.slice(begin, of_a_part) for begin in range(0, whole.num_rows, of_a_part)]
    numbers = range(merged, len(rows), of_a_part)
    deltas = [parts.latest(table(*rows[begin : begin + of_a_part])) for begin in numbers]
    staged_parts = [findings[begin : begin + of_a_part] for begin in range(0, len(findings), of_a_part)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "AT_ONCE", at_once)
        found = compare(
            [len(each) for each in staged_parts],
            lambda number: staged(*staged_parts[number]),
            [parts.compared(parts.encode(each)) for each in ordered],
            [parts.compared(parts.encode(each)) for each in data.draw(st.permutations(deltas))],
            moments,
            data.draw(st.integers(0, 20)),
        ).decisions
    answers = [
        (Verdict(verdict).key, stamp or finding["updated_at"] if verdict < Verdict.UNCHANGED else 0)
        for (verdict, stamp), finding in zip(found.tolist(), findings, strict=True)
    ]
    assert answers == plain(findings, rows, moments)


def test_whose_states_change_is_counted_by_reason():
    """What is archived and was active, by the reason in the row; what was archived and is active."""
    flagged = [
        {"because": "fixed", "fixed": True},
        {"because": "fixed", "fixed": True},
        {"because": "risk_accepted", "fixed": False},
        {"because": "asset_terminated", "fixed": False},
        # Its asset is gone as well, and that is what the finding says.
        {"because": "asset_deleted", "fixed": True},
        # An earlier release has staged it.
        {"because": "", "fixed": False},
    ]
    archived = [{"number": number, "archived": True, **each} for number, each in enumerate(flagged, 1)]
    others = [{"number": 7}, {"number": 8}, {"number": 9, "archived": True}, {"number": 10}]
    rows = [held(number) for number in range(1, 8)] + [held(8, archived=True), held(9, archived=True)]
    # An unknown content: it was archived before it was ever sent, so that it is new to the hub.
    rows.append(held(10, archived=True, content=0))
    index = [parts.compared(parts.encode(parts.latest(table(*rows))))]
    found = compare([10], lambda _: staged(*archived, *others), index, [], MOMENTS)
    assert found.changed_states == {
        "fixed": 2,
        "risk_accepted": 1,
        "asset_terminated": 1,
        "asset_deleted": 1,
        "other": 1,
        "reopened": 1,
    }


def test_what_an_earlier_release_has_mapped_in_another_way_is_sent_and_counted():
    now, before = row.content_of(b"now"), 1 << 56 | 7
    index = [
        parts.compared(
            parts.encode(
                parts.latest(
                    table(
                        held(1, content=before),
                        held(2, content=before),
                        # Not because of the mapping: changed since, active again, fixed, unknown, superseded.
                        held(3, content=row.content_of(b"before")),
                        held(4, content=before, archived=True),
                        held(5, content=before),
                        held(6, content=row.UNKNOWN_CONTENT),
                        held(7, content=before, as_of=NOW),
                    )
                )
            )
        )
    ]
    findings = [{"number": number, "content": now, "archived": number == 5} for number in range(1, 8)]
    found = compare([7], lambda _: staged(*findings), index, [], MOMENTS)
    assert found.changed_states == {"remapped": 2, "reopened": 1, "fixed": 1}
    assert [Verdict(code).key for code in found.decisions["verdict"]] == [
        *["updated"] * 4,
        "archived",
        "updated",
        "superseded",
    ]
